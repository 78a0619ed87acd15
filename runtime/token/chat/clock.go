package chat

import (
	"fmt"
	"strings"
	"time"

	"github.com/ardanlabs/jinja"
)

// layouts are strftime's conversions as Go layouts; %- drops padding, as glibc's does.
var layouts = map[string]string{
	"%d": "02", "%-d": "2", "%e": "_2", "%m": "01", "%-m": "1", "%y": "06", "%Y": "2006", "%B": "January", "%b": "Jan", "%h": "Jan",
	"%A": "Monday", "%a": "Mon", "%H": "15", "%I": "03", "%-I": "3", "%M": "04", "%-M": "4", "%S": "05", "%-S": "5", "%p": "PM",
	"%F": "2006-01-02", "%T": "15:04:05", "%D": "01/02/06", "%R": "15:04", "%Z": "MST", "%z": "-0700", "%f": "000000", "%j": "002",
	"%c": "Mon Jan _2 15:04:05 2006", "%x": "01/02/06", "%X": "15:04:05",
}

// clock is strftime_now.
func clock(now time.Time, args []jinja.Value) (jinja.Value, error) {
	format := "%Y-%m-%d"
	if len(args) > 0 {
		if !args[0].IsString() {
			return jinja.Undefined(), fmt.Errorf("strftime_now: format is %s, expected text", args[0].String())
		}
		format = args[0].AsString()
	}
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		n := 2
		if format[i+1] == '-' && i+2 < len(format) {
			n = 3
		}
		conv := format[i : i+n]
		i += n - 1
		switch layout, ok := layouts[conv]; {
		case conv == "%%":
			b.WriteByte('%')
		case conv == "%f":
			fmt.Fprintf(&b, "%06d", now.Nanosecond()/1000)
		case ok:
			b.WriteString(now.Format(layout))
		default:
			return jinja.Undefined(), fmt.Errorf("strftime_now: conversion %s is unknown", conv)
		}
	}
	return jinja.NewString(b.String()), nil
}
