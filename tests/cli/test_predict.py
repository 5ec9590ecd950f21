"""`jaxml predict`: files of every kind against the function itself, and refusals."""

import csv
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxml import export
from jaxml.cli.main import main

CLASSES = ("cat", "dog", "owl")


def classify(weight, images):
    return images.reshape(-1, 4 * 5).astype(jnp.float32) @ weight / 255


def add(weight, x):
    return {"sum": x["a"].sum(1) * weight, "both": x["b"][:, None] + x["a"]}


@pytest.fixture(scope="module")
def weight():
    return np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(weight, tmp_path_factory):
    """A finished run: a classifier of grey pictures, 5 wide and 4 high."""
    run = tmp_path_factory.mktemp("run")
    example = np.zeros((1, 4, 5, 1), np.uint8)
    export.save(run / "export", classify, weight, example, classes=CLASSES)
    return run


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    """An export of numbers: y = 2 (a + b + 1)."""
    path = tmp_path_factory.mktemp("line") / "export"
    x = np.zeros((1, 2), np.float32)
    export.save(path, lambda w, x: w * (x.sum(1) + 1), jnp.float32(2), x)
    return path


@pytest.fixture
def images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return np.random.default_rng(1).integers(0, 256, (7, 4, 5, 1)).astype(np.uint8)


def run(*words):
    return main(["predict", *map(str, words)])


def expected(weight, images):
    return np.asarray(jax.nn.softmax(jax.jit(classify)(weight, images)))


@pytest.mark.parametrize("kind", ["npy", "npz", "npz key", "csv", "csv names", "png"])
def test_every_kind_of_file(folder, weight, images, capsys, kind):
    names = ["x.npy"]
    if kind == "npy":
        np.save("x.npy", images)
    elif kind == "npz":
        names = ["x.npz"]
        np.savez("x.npz", image=images)
    elif kind == "npz key":
        names = ["x.npz:image"]
        np.savez("x.npz", image=images, label=np.arange(7))
    elif kind == "png":
        names = [f"{row}.png" for row in range(7)]
        for name, image in zip(names, images, strict=True):
            Image.fromarray(image[..., 0]).save(name)
    else:
        names = ["x.csv"]
        rows = [",".join(map(str, image.ravel())) for image in images]
        head = [",".join(f"p{i}" for i in range(20))] if "names" in kind else []
        with open("x.csv", "w") as file:
            file.write("\n".join([*head, *rows, ""]))
    assert run(folder, *names, "--output", "y.npy") == 0
    assert capsys.readouterr().out == "7 rows in y.npy\n"
    # the same program on the same device, but fused differently: a few ulp
    np.testing.assert_allclose(np.load("y.npy"), expected(weight, images), rtol=1e-5)


@pytest.mark.parametrize("rows", [1, 255, 256, 257, 600])
def test_long_inputs_go_in_equal_parts(folder, weight, images, rows):
    images = np.resize(images, (rows, 4, 5, 1))
    np.save("x.npy", images)
    assert run(folder, "x.npy", "--output", "y.npy") == 0
    np.testing.assert_allclose(np.load("y.npy"), expected(weight, images), rtol=1e-5)


def test_prints_the_most_likely_classes(folder, weight, images, capsys):
    np.save("x.npy", images[:2])
    np.save("one.npy", images[0])
    assert run(folder, "x.npy", "one.npy", "--top", 2) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    values = expected(weight, images)[0]
    best = np.argsort(-values)[:2]
    words = [word for i in best for word in (CLASSES[i], f"{values[i]:.3f}")]
    assert lines[0] == ["input", "1", "2"]
    assert lines[1] == ["x.npy[0]", *words]
    assert lines[2][0] == "x.npy[1]"
    assert lines[3] == ["one.npy", *words]


def test_probabilities_are_not_normalised_twice(images, tmp_path):
    np.save("x.npy", np.array([[0.25, 0.75]], np.float32))
    x = np.zeros((1, 2), np.float32)
    export.save(
        tmp_path / "e", lambda w, x: x, {}, x, classes=("a", "b"), probabilities=True
    )
    assert run("e", "x.npy", "--output", "y.npy") == 0
    np.testing.assert_array_equal(np.load("y.npy"), [[0.25, 0.75]])


def test_csv_output_names_class_and_columns(folder, weight, images):
    np.save("x.npy", images)
    assert run(folder, "x.npy", "--output", "y.csv") == 0
    with open("y.csv", newline="") as file:
        head, *rows = list(csv.reader(file))
    values = expected(weight, images)
    assert head == ["input", "class", *CLASSES]
    assert [row[0] for row in rows] == [f"x.npy[{i}]" for i in range(7)]
    assert [row[1] for row in rows] == [CLASSES[i] for i in values.argmax(1)]
    got = np.array([row[2:] for row in rows], np.float32)
    np.testing.assert_allclose(got, values, rtol=1e-5)


def test_prints_numbers(line, images, capsys):
    with open("x.csv", "w") as file:
        file.write("a,b\n1,2\n-1.5,0\n")
    assert run(line, "x.csv") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [["input", "value"], ["x.csv[0]", "8"], ["x.csv[1]", "-1"]]


def test_several_inputs_and_outputs(images, capsys):
    example = {"a": np.zeros((1, 2), np.float32), "b": np.zeros(1, np.float32)}
    export.save("e", add, jnp.float32(3), example)
    np.savez("x.npz", a=[[1.0, 2.0]], b=[10.0])
    assert run("e", "x.npz") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [["input", "both[0]", "both[1]", "sum"], ["x.npz", "11", "12", "9"]]
    assert run("e", "x.npz", "--output", "y.npy") == 2
    assert "several outputs need --output FILE.csv" in capsys.readouterr().err
    np.savez("x.npz", a=[[1.0, 2.0]], b=[10.0, 2.0])
    assert run("e", "x.npz") == 1
    assert "its arrays must agree in rows" in capsys.readouterr().err


def test_rgb_and_palette_pictures_become_what_the_export_takes(images, capsys):
    example = np.zeros((1, 4, 5, 3), np.uint8)
    export.save("e", lambda w, x: x[:, 0, 0].astype(jnp.float32), {}, example)
    pixels = np.zeros((4, 5, 3), np.uint8) + np.array([10, 20, 30], np.uint8)
    picture = Image.fromarray(pixels)
    picture.save("rgb.png")
    picture.convert("P", palette=Image.Palette.ADAPTIVE).save("palette.png")
    Image.fromarray(pixels[..., 0]).save("grey.png")
    assert run("e", "rgb.png", "palette.png", "grey.png") == 0
    lines = [line.split()[1:] for line in capsys.readouterr().out.splitlines()[1:]]
    assert lines == [["10", "20", "30"], ["10", "20", "30"], ["10", "10", "10"]]


# Refusals.


def test_a_run_that_is_none_or_not_finished(images, capsys, tmp_path):
    assert run("gone", "x.npy") == 2
    assert "no folder gone" in capsys.readouterr().err
    (tmp_path / "r").mkdir()
    assert run("r", "x.npy") == 2
    assert "r is neither a run nor an export" in capsys.readouterr().err
    (tmp_path / "r" / "config.json").write_text(json.dumps({}))
    assert run("r", "x.npy") == 1
    err = capsys.readouterr().err
    assert "r is not finished: it has no export yet; go on with jaxml run FILE" in err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["gone.npy"], 1, "no file gone.npy"),
        (["notes.txt"], 1, "notes.txt must end in one of .npy, .npz, .csv, .png"),
        (["half.npy"], 1, "half.npy cannot be read"),
        (["objects.npy"], 1, "objects.npy cannot be read: it holds Python objects"),
        (["objects.npz"], 1, "objects.npz cannot be read: it holds Python objects"),
        (["half.npz"], 1, "half.npz cannot be read"),
        (
            ["two.npz"],
            1,
            "two.npz cannot be read: name one array as two.npz:KEY; it holds a, b",
        ),
        (["two.npz:c"], 1, "two.npz cannot be read: it has no c; it holds a, b"),
        (["wide.npy"], 1, "wide.npy: the input must be uint8 [rows, 4, 5, 1]; got"),
        (["float.npy"], 1, "float.npy: the input must be uint8"),
        (["number.npy"], 1, "number.npy: the input must be uint8"),
        (["none.npy"], 1, "none.npy: the input must be uint8"),
        (
            ["short.csv"],
            1,
            "short.csv cannot be read: line 2 must have 20 numbers; got 2",
        ),
        (["word.csv"], 1, 'word.csv cannot be read: line 1 has "many" for a number'),
        (
            ["broken.csv"],
            1,
            "broken.csv cannot be read: it must hold whole numbers, for uint8",
        ),
        (["empty.csv"], 1, "empty.csv cannot be read: it has no row of numbers"),
        (
            ["large.png"],
            1,
            "large.png cannot be read: it must be 5 x 4 pixels; got 9 x 4",
        ),
        (["clear.png"], 1, "clear.png cannot be read: it is transparent"),
        (["deep.png"], 1, "deep.png cannot be read: its pixels must have 8 bits"),
        (["half.png"], 1, "half.png cannot be read"),
        (["ok.npy", "--top", "4"], 2, "--top must be from 1 to 3; got 4"),
        (["ok.npy", "--output", "y.txt"], 2, "--output must end in .npy or .csv"),
        (["ok.npy", "--output", "gone/y.npy"], 1, "cannot write gone/y.npy: No such"),
        ([], 2, "the following arguments are required: INPUT"),
    ],
)
def test_rejects_input(folder, images, tmp_path, capsys, words, code, message):
    np.save("ok.npy", images)
    np.save("wide.npy", images[:, :, :3])
    np.save("float.npy", images / 255)
    np.save("number.npy", np.uint8(3))
    np.save("none.npy", images[:0])
    np.save("objects.npy", np.array([{}], object))
    np.savez("objects.npz", image=np.array([{}], object))
    np.savez("two.npz", a=images, b=images)
    row = ",".join(["1"] * 20)
    texts = {"short": f"{row}\n1,2", "broken": row.replace("1", "0.5"), "empty": "a,b"}
    texts |= {"word": f"{row[:-1]}many"}
    for name, text in texts.items():
        (tmp_path / f"{name}.csv").write_text(text)
    (tmp_path / "notes.txt").write_text("")
    for name, source in {"npy": "ok.npy", "npz": "two.npz"}.items():
        half = (tmp_path / source).read_bytes()[:150]
        (tmp_path / f"half.{name}").write_bytes(half)
    Image.new("L", (9, 4)).save("large.png")
    Image.new("RGBA", (5, 4), (1, 2, 3, 128)).save("clear.png")
    Image.new("I;16", (5, 4)).save("deep.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "large.png").read_bytes()[:30])
    before = set(tmp_path.iterdir())
    assert run(folder, *words) == code
    err = capsys.readouterr().err
    assert err.startswith("jaxml: ")
    assert message in err
    assert "Traceback" not in err
    assert set(tmp_path.iterdir()) == before


def test_rejects_pictures_for_numbers_and_top_without_classes(line, images, capsys):
    Image.new("L", (2, 1)).save("x.png")
    assert run(line, "x.png") == 1
    assert "the export takes float32 rows of (2,)" in capsys.readouterr().err
    assert run(line, "x.png", "--top", 1) == 2
    assert "--top needs a classifier" in capsys.readouterr().err


def test_a_damaged_export_is_named(folder, images, tmp_path, capsys):
    import shutil

    np.save("x.npy", images)
    copy = shutil.copytree(folder, tmp_path / "copy")
    weights = copy / "export" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert run(copy, "x.npy") == 1
    assert "weights.safetensors is damaged" in capsys.readouterr().err
