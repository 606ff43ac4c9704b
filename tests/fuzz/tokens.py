# ruff: noqa: E501 - tables of short things
"""Words that parsers stumble over, by kind of file, and integers at the edges of their types."""

import pickle

NUMBERS = (
    0, 1, 2, 3, 4, 7, 8, 16, 32, 63, 64, 100, 127, 128, 255, 256, 1000, 2**12, 2**15 - 1, 2**15, 2**16 - 1, 2**16,
    2**20, 2**24, 2**28, 2**30, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**48, 2**63 - 1, 2**63, 2**64 - 1, 2**64 - 2,
)  # fmt: skip

COMMON = (
    b"", b"0", b"-1", b"1", b"NaN", b"nan", b"-inf", b"Infinity", b"1e999", b"-1e308", b"1e-999", b"0.1", b"4294967296",
    b"9223372036854775808", b"99999999999999999999999", b"1" * 5000, b"null", b"true", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf",
    b"\xed\xa0\x80", "\u202e\u2028\u0085é".encode(), b"../../x", b"/etc/passwd", b"\n", b"\r", b" ", b"a" * 3000, b"%s%n", b"\x1b[31m",
)  # fmt: skip

JSON = (
    b"{", b"}", b"[", b"]", b",", b":", b'"', b'"\\ud800"', b'"\\u0000"', b"[" * 2000, b'{"a":' * 2000, b"[]", b"{}", b'""', b"1.0",
    b"-0", b'"object"', b'"spec"', b'"image_id"', b"[[]]", b"[null]", b'"x"', b"1E400", b"false",
)  # fmt: skip
YAML = (
    b"!!python/object:os.system", b"!!python/object/apply:os.system ['x']", b"!!int ''", b"!!float ''", b"!!bool x",
    b"!!timestamp x", b"!!null x", b"!!binary '='", b"!!set {a, b}", b"!!omap [a: 1]", b"!!pairs [a]", b"!!map x", b"!!str [a]",
    b"&a", b"*a", b"<<: {a: 1}", b"<<: 1", b"? ", b"? [a]\n: b\n", b"- ", b": ", b"|", b">", b"%YAML 9.9\n---\n", b"---\n", b"...\n",
    b"#", b"{", b"[", b"'", b'"', b'"\\ud800"', b'"\\UFFFFFFFF"', b"\t", b"0x" + b"f" * 6000, b"0b" + b"1" * 9000, b"2001-99-99",
    b"2001-01-01 99:99:99", b"2001-01-01T00:00:00+99:99", b"1:99:99", b"190:20:30.15", b".nan", b".inf", b"[" * 1500, b"- " * 800, b"0o8", b"08", b"~",
)  # fmt: skip
TOML = (
    b"[a]\n", b"[[a]]\n", b"[recalls.x]\n", b"=", b"'''", b'"""', b"0x" + b"f" * 6000, b"0b" + b"1" * 9000, b"[" * 1500, b"{a=" * 1500,
    b"a." * 1500, b"1979-05-27T07:32:00Z", b"1979-05-27", b"07:32:00", b"inf", b"-nan", b"[]", b"{}", b"''", b"[1, 2]", b"['a']",
    b'"\\ud800"', b'"\\u0000"', b"true", b"1_000", b"9" * 400, b"[{}]",
)  # fmt: skip
PICKLE = (
    *(code.encode("latin1") for code in "()}].0KMJIFLSUTXBCjiuasbteRocgqrhdpN2lQP"),
    b"\x80\x02", b"\x80\x05", b"\x8a\x04\xff\xff\xff\xff", b"\x8b\xff\xff\xff\x7f", b"\x8c\x04none", b"\x8d" + b"\xff" * 8,
    b"\x8e" + b"\xff" * 7 + b"\x7f", b"\x93", b"\x94", b"\x95" + b"\xff" * 8, b"\x96" + b"\xff" * 8, b"\x85", b"\x86", b"\x87",
    b"\x88", b"\x89", b"\x8f", b"\x90", b"\x91", b"\x92", b"\x97", b"\x98", b"(lp0\n", b"cos\nsystem\n", b"cbuiltins\neval\n",
    b"cnumpy\nndarray\n", b"cnumpy\ndtype\n", b"cnumpy.core.multiarray\n_reconstruct\n", b"cnumpy.core.multiarray\nscalar\n",
    b"cnumpy._core.numeric\n_frombuffer\n", b"c_codecs\nencode\n", b"cbuiltins\nbytes\n", b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ctorch.storage\n_load_from_bytes\n", b"ccollections\nOrderedDict\n", b"cchumpy.ch\nCh\n", b"cscipy.sparse.csc\ncsc_matrix\n",
    b"I01\n", b"I99999999999999999999\n", b"L9999999999L\n", b"F1e999\n", b"Fnan\n", b"S'\\xff'\n", b"V\\ud800\n", b"]" * 3000, b"(" * 3000,
    b"\x82\x01", b"\x83\x01\x00", b"\x84\x01\x00\x00\x00", b"Pos\n", pickle.dumps([float("nan"), 10**40])[2:],
)  # fmt: skip
PLY = (
    b"ply\n", b"format ascii 1.0\n", b"format binary_little_endian 1.0\n", b"format binary_big_endian 1.0\n",
    b"element vertex 99999999\n", b"element face 4\n", b"element face 0\n", b"element vertex -1\n", b"element other 3\n",
    b"element other 9999999\n", b"property list uchar int vertex_indices\n", b"property list int int vertex_index\n",
    b"property list float double vertex_indices\n", b"property list char uint a\n", b"property double x\n", b"property float x\n",
    b"property uchar x\n", b"property uint vertex_indices\n", b"end_header\n", b"comment \xff\n", b"obj_info\n", b"uchar", b"list", b"x", b"y", b"z", b"\xff" * 8,
)  # fmt: skip
OBJ = (
    b"v 0 0 0\n", b"v nan 0 0\n", b"f 1 2 3\n", b"f -1 -2 -3\n", b"f 1/1/1 2/2/2 3/3/3\n", b"f 1//1 2//2 3//3\n", b"f 0 0 0\n",
    b"f " + b"1 " * 1000 + b"\n", b"vn 0 0 1\n", b"vt 0 0\n", b"g a\n", b"usemtl x\n", b"mtllib ../../x\n", b"\x1c", b"\x85", b"/", b"1_0", b"f ",
)  # fmt: skip
PARQUET = (
    b"PAR1", b"PARE", b"ARROW:schema", b"\x15", b"\x19", b"\x1c", b"\x00", b"\xff\xff\xff\xff", b"\xff" * 9 + b"\x01",
    b"\x28\xb5\x2f\xfd", b"pandas", b"huggingface", b"\x02", b"\x7f" * 4, b"list", b"element",
)  # fmt: skip
ZIP = (
    b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"PK\x07\x08", b"\x01\x00\x1c\x00" + b"\xff" * 28,
    b"\x93NUMPY\x01\x00", b"\x93NUMPY\x03\x00", b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", b"'<f8'", b"'|O'", b"(9999999999,)",
    b"(-1,)", b"()", b".npy", b"results.pkl", b"..\\", b"\xff" * 4,
)  # fmt: skip
PICTURE = (
    b"\x89PNG\r\n\x1a\n", b"IHDR", b"IDAT", b"IEND", b"PLTE", b"tRNS", b"acTL", b"fcTL", b"fdAT", b"eXIf", b"iCCP", b"\xff\xd8",
    b"\xff\xd9", b"\xff\xc0", b"\xff\xc2", b"\xff\xc4", b"\xff\xda", b"\xff\xdb", b"\xff\xdd", b"\xff\xe1", b"\xff\xee", b"\xff\xff", b"\x40\x00\x40\x00",
)  # fmt: skip
SAFETENSORS = (
    b'"dtype":"F32"',
    b'"shape":[',
    b'"data_offsets":[0,',
    b'"__metadata__"',
    b'"F64"',
    b'"BF16"',
    b'"F8_E4M3"',
    b'"BOOL"',
    b"\xff" * 8,
)

TOKENS = {
    "json": COMMON + JSON,
    "lines": COMMON + JSON,
    "yaml": COMMON + YAML,
    "toml": COMMON + TOML,
    "pickle": COMMON + PICKLE,
    "ply": COMMON + PLY,
    "obj": COMMON + OBJ,
    "parquet": COMMON + PARQUET,
    "zip": COMMON + ZIP + PICKLE,
    "npz": COMMON + ZIP,
    "png": COMMON + PICTURE,
    "jpg": COMMON + PICTURE,
    "safetensors": COMMON + JSON + SAFETENSORS,
}
