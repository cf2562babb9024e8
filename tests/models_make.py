"""Makes the models of tests/models: MODEL FOLDER."""

import json
import os
import struct
import sys
import zlib
from pathlib import Path

import gguf
import numpy
import safetensors
import safetensors.numpy

TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"


def safetensors_header(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(length)), 8 + length


def make_header(model, to):
    """By hand, so that only the header changes: what editors of cards do."""
    header, start = safetensors_header(model)
    header = {"__metadata__": {**header.pop("__metadata__", {}), "note": "edited " * 16}, **header}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(model, "rb") as source, open(to, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        source.seek(start)
        while piece := source.read(1 << 20):
            file.write(piece)


def make_layers(model, to):
    """Noise on every number of two layers, written in place over a copy."""
    header, start = safetensors_header(model)
    noise = numpy.random.default_rng(1)
    contents = bytearray(Path(model).read_bytes())
    changed = 0
    for name, tensor in header.items():
        if ".layer.1." in name or ".layer.4." in name:
            assert tensor["dtype"] == "F32", name
            begin, end = (start + offset for offset in tensor["data_offsets"])
            numbers = numpy.frombuffer(contents[begin:end], "<f4")
            numbers = numbers + noise.normal(0, 1e-3, numbers.shape).astype("<f4")
            contents[begin:end] = numbers.astype("<f4").tobytes()
            changed += end - begin
    assert changed > 10_000_000, "the layers were not found"
    Path(to).write_bytes(contents)


def make_gguf(tensors, to, template, quantize):
    writer = gguf.GGUFWriter(str(to), "bert")
    writer.add_name("all-MiniLM-L6-v2")
    writer.add_block_count(6)
    writer.add_context_length(512)
    writer.add_embedding_length(384)
    writer.add_head_count(12)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_chat_template(template)
    writer.add_token_list([f"word {number}".encode() for number in range(1000)])
    writer.add_token_scores([number / 7 for number in range(1000)])
    writer.add_token_types([1] * 1000)
    for name, numbers in tensors.items():
        if numbers.ndim < 2:
            writer.add_tensor(name, numbers.astype(numpy.float32) if numbers.dtype.kind == "f" else numbers)
        elif quantize:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(numbers.astype(numpy.float32), kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, numbers.astype(numpy.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def make_types(to):
    """Two rows of one block of each type that the package knows, but for one:
    Q8_1 is only computed with, never stored, and ggml has shortened it since."""
    writer = gguf.GGUFWriter(str(to), "none")
    for kind, (_, size) in gguf.GGML_QUANT_SIZES.items():
        if kind == gguf.GGMLQuantizationType.Q8_1:
            continue
        writer.add_tensor(kind.name, numpy.full((2, size), kind, numpy.uint8), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read_safetensors(path):
    """The package does not tell places, so what it reads there is summed up."""
    with safetensors.safe_open(path, "numpy") as file:
        for key, value in sorted((file.metadata() or {}).items()):
            yield {"text": key, "value": value}
        for name in file.keys():
            part = file.get_slice(name)
            numbers = file.get_tensor(name).tobytes()
            yield {
                "tensor": name,
                "kind": part.get_dtype(),
                "shape": part.get_shape(),
                "length": len(numbers),
                "crc32": zlib.crc32(numbers),
            }


def read_gguf(path):
    reader = gguf.GGUFReader(path)
    for field in reader.fields.values():
        value = field.contents()
        if not field.name.startswith("GGUF."):
            if isinstance(value, list):
                value = f"{len(value)} values"
            yield {"text": field.name, "value": value if isinstance(value, (str, float)) else str(value).lower()}
    for tensor in reader.tensors:
        numbers = tensor.data.tobytes()
        assert len(numbers) == tensor.n_bytes
        yield {
            "tensor": tensor.name,
            "kind": tensor.tensor_type.name,
            # It tells the innermost first.
            "shape": [int(size) for size in reversed(tensor.shape)],
            "start": int(tensor.data_offset),
            "length": int(tensor.n_bytes),
            "crc32": zlib.crc32(numbers),
        }


def main():
    model, to = Path(sys.argv[1]), Path(sys.argv[2])
    make_header(model, to / "header.safetensors")
    make_layers(model, to / "layers.safetensors")
    tensors = safetensors.numpy.load_file(model)
    make_gguf(tensors, to / "f16.gguf", TEMPLATE, quantize=False)
    make_gguf(tensors, to / "template.gguf", TEMPLATE + "{# edited #}" * 9, quantize=False)
    make_gguf(tensors, to / "q8_0.gguf", TEMPLATE, quantize=True)
    make_types(to / "types.gguf")
    files = [model, *sorted(to.glob("*.safetensors")), *sorted(to.glob("*.gguf"))]
    with open(to / "python.new", "w") as list:
        for path in files:
            read = read_gguf if path.suffix == ".gguf" else read_safetensors
            for line in read(path):
                print(json.dumps({"file": os.path.relpath(path, to), **line}), file=list)
    (to / "python.new").rename(to / "python.jsonl")


main()
