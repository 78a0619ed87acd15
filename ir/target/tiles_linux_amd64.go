package target

import "golang.org/x/sys/unix"

// mayUseTiles asks the kernel for AMX tile data (arch_prctl ARCH_REQ_XCOMP_PERM), which
// it may refuse to a sandbox whatever the processor says.
func mayUseTiles() bool {
	const requestPermission, tileData = 0x1023, 18
	_, _, errno := unix.RawSyscall(unix.SYS_ARCH_PRCTL, requestPermission, tileData, 0)
	return errno == 0
}
