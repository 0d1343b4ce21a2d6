"""Writes golden/pictures/* (small pictures of every kind) and golden/pillow.txt: CRC-32s of what
Pillow and torchvision make of them and of generated pictures. Run with Debian's python3-pil and
python3-torchvision, from anywhere:  /usr/bin/python3 tests/golden/make_pillow_golden.py
"""
import os
import random
import struct
import zlib

import numpy as np
import PIL
import torchvision
from PIL import Image, ImageOps
from torchvision import transforms

HERE = os.path.dirname(os.path.abspath(__file__))
PICTURES = os.path.join(HERE, "pictures")


def generated(height, width):
    """The picture that tests/transform.cpp makes: a gradient under six bits of LCG noise."""
    state, pixels = height * 65536 + width, bytearray()
    for _ in range(height):
        for x in range(width):
            for _ in range(3):
                state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
                pixels.append((x * 200 // width + (state >> 26)) & 255)
    return Image.frombytes("RGB", (width, height), bytes(pixels))


def crc(data):
    return "%08x" % zlib.crc32(data)


def png_chunk(kind, data):
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def write_png16(path, array):
    """A 16-bit RGB PNG, which Pillow cannot write."""
    height, width, _ = array.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n")
        f.write(png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)))
        f.write(png_chunk(b"IDAT", zlib.compress(rows)))
        f.write(png_chunk(b"IEND", b""))


def make_pictures():
    os.makedirs(PICTURES, exist_ok=True)
    base = generated(21, 30)
    alpha = Image.linear_gradient("L").resize(base.size)

    def save(name, image, **options):
        image.save(os.path.join(PICTURES, name), **options)

    save("rgb_420.jpg", base, quality=87, subsampling=2)
    save("rgb_444.jpg", base, quality=95, subsampling=0)
    save("rgb_progressive.jpg", base, quality=80, progressive=True)
    save("gray.jpg", base.convert("L"), quality=90)
    save("cmyk.jpg", base.convert("CMYK"), quality=90)
    exif = Image.Exif()
    exif[0x0112] = 6
    save("exif_6.jpg", base, quality=90, exif=exif)
    save("exif_6.png", base, exif=exif)
    save("rgb.png", base)
    save("rgba.png", Image.merge("RGBA", (*base.split(), alpha)))
    save("gray.png", base.convert("L"))
    save("gray_alpha.png", Image.merge("LA", (base.convert("L"), alpha)))
    save("bilevel.png", base.convert("1"))
    save("palette.png", base.quantize(19), transparency=3)
    save("palette_4bit.png", base.quantize(7), bits=4)
    save("rgb.bmp", base)
    save("rgb.ppm", base)
    save("gray.pgm", base.convert("L"))
    save("rgb.gif", base.quantize(64))
    save("transparent.gif", base.quantize(19), transparency=3)
    noise = np.random.RandomState(0).randint(0, 65536, (21, 30, 3))
    write_png16(os.path.join(PICTURES, "rgb_16bit.png"), noise)
    Image.fromarray(noise[..., 0].astype(np.int32), mode="I").save(
        os.path.join(PICTURES, "gray_16bit.png"))


def main():
    make_pictures()
    lines = ["# Pillow %s, torchvision %s; made by make_pillow_golden.py" %
             (PIL.__version__, torchvision.__version__)]
    for name in sorted(os.listdir(PICTURES)):
        image = Image.open(os.path.join(PICTURES, name))
        if name == "gray_16bit.png":  # convert("RGB") would clip it to white; see data/image.h
            rgb = Image.fromarray((np.array(image) >> 8).astype(np.uint8)).convert("RGB")
        else:
            rgb = image.convert("RGB")
        lines.append("decode %s %d %d %s" % (name, rgb.height, rgb.width, crc(rgb.tobytes())))

    for orientation in range(1, 9):
        image = generated(5, 7)
        image.getexif()[0x0112] = orientation
        turned = ImageOps.exif_transpose(image)
        lines.append("upright %d 5 7 %s" % (orientation, crc(turned.tobytes())))

    rng = random.Random(0)
    sizes = [(1, 1, 1, 1), (1, 1, 9, 5), (5, 7, 1, 1), (64, 64, 64, 17), (64, 48, 13, 48),
             (341, 256, 224, 224), (100, 3, 8, 8), (2, 500, 32, 32)]
    sizes += [tuple(rng.randint(1, 120) for _ in range(4)) for _ in range(60)]
    for h, w, new_h, new_w in sizes:
        image = generated(h, w).resize((new_w, new_h), Image.BILINEAR)
        lines.append("resize %d %d %d %d %s" % (h, w, new_h, new_w, crc(image.tobytes())))

    for h, w, size in [(60, 90, 32), (91, 60, 32), (33, 47, 48), (17, 200, 19), (20, 20, 20)]:
        image = transforms.Resize(size)(generated(h, w))
        lines.append("short %d %d %d %s" % (h, w, size, crc(image.tobytes())))

    for h, w in [(41, 30), (43, 31), (45, 32), (20, 45), (45, 19), (9, 8), (24, 24)]:
        image = transforms.CenterCrop(24)(generated(h, w))
        lines.append("center %d %d 24 %s" % (h, w, crc(image.tobytes())))

    evaluation = transforms.Compose([
        transforms.Resize(64), transforms.CenterCrop(56), transforms.ToTensor(),
        transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])
    for h, w in [(90, 120), (121, 87)]:
        nhwc = evaluation(generated(h, w)).permute(1, 2, 0).contiguous().numpy()
        lines.append("eval56 %d %d %s" % (h, w, crc(nhwc.tobytes())))

    with open(os.path.join(HERE, "pillow.txt"), "w") as f:
        f.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
