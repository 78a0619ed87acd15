"""hf.py TOKENIZER.json: token ids by the Python package tokenizers (0.23.3), one JSON array a line.

Input: records of a little-endian uint32 length and that many bytes of UTF-8. Special tokens are parsed, as that
package always does, and what the post-processor adds is added.
"""

import json
import struct
import sys

import tokenizers

tok = tokenizers.Tokenizer.from_file(sys.argv[1])
data = sys.stdin.buffer.read()
at = 0
while at < len(data):
    (n,) = struct.unpack_from("<I", data, at)
    text = data[at + 4 : at + 4 + n].decode("utf-8")
    at += 4 + n
    print(json.dumps(tok.encode(text).ids, separators=(",", ":")))
