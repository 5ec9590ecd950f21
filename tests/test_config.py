"""A config from text: every type, every refusal, and the way there and back."""

import dataclasses
import json
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxml import config


class Pool(Enum):
    MAX = "max"
    MEAN = "mean"


@dataclass(frozen=True)
class Optimizer:
    name: Literal["adam", "sgd"] = "adam"
    rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)

    def __post_init__(self):
        if self.rate <= 0:
            raise ValueError(f"rate must be positive; got {self.rate}")


@dataclass(frozen=True)
class Ema:
    decay: float = 0.99


@dataclass(frozen=True)
class Config:
    epochs: int = 10
    shuffle: bool = True
    note: str = ""
    sizes: tuple[int, ...] = (300, 100)
    clip: float | None = None
    folder: Path = Path("runs")
    pool: Pool = Pool.MAX
    level: Literal[1, 2, "high"] = 1
    count: str | int = 1
    optimizer: Optimizer = field(default_factory=Optimizer)
    ema: Ema | None = None


@dataclass(frozen=True)
class Required:
    source: Path
    rate: float = 0.1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("epochs=3", 3),
        ("epochs=-1_000", -1000),
        ("shuffle=no", False),
        ("shuffle=0", False),
        ("shuffle=True", True),
        ("shuffle=yes", True),
        ("note=a=b, c", "a=b, c"),
        ("note=", ""),
        ("note=none", "none"),
        ("sizes=64", (64,)),
        ("sizes=64,32", (64, 32)),
        ("sizes=(64, 32)", (64, 32)),
        ("sizes=[64,]", (64,)),
        ("sizes=", ()),
        ("sizes=()", ()),
        ("clip=1", 1.0),
        ("clip=none", None),
        ("folder=a/b", Path("a/b")),
        ("folder=~/b", Path.home() / "b"),
        ("pool=MEAN", Pool.MEAN),
        ("level=2", 2),
        ("level=high", "high"),
        ("count=7", 7),
        ("count=many", "many"),
        ("optimizer.rate=3e-4", 3e-4),
        ("optimizer.rate=inf", float("inf")),
        ("optimizer.name=sgd", "sgd"),
        ("optimizer.betas=0.8,0.9", (0.8, 0.9)),
        ("ema.decay=0.5", 0.5),
        ("ema=none", None),
    ],
)
def test_override_sets_one_key(text, value):
    key = text.partition("=")[0]
    new = config.override(Config(), [text])
    got = config.flatten(new)[key]
    assert got == value
    assert type(got) is type(value)
    assert set(config.difference(new, Config())) <= {key, "ema"}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["epochs"], 'write key=value; got "epochs" without "="'),
        (["epochs=3", "epochs=4"], 'epochs is given twice: "3" and "4"'),
        (["epoch=3"], "no key epoch; did you mean epochs?$"),
        (["rate=3"], "no key rate; did you mean optimizer.rate?$"),
        (["Optimizer.Rate=3"], "no key Optimizer.Rate; did you mean optimizer.rate"),
        (["optimizer.rte=3"], "no key optimizer.rte; did you mean optimizer.rate"),
        (["epochs.more=3"], "no key epochs.more; did you mean epochs"),
        (
            ["optimizer.rate.x=3"],
            "no key optimizer.rate.x; did you mean optimizer.rate",
        ),
        (["zzz=3"], "no key zzz; there are: epochs, shuffle, .*, ema, ema.decay"),
        (["epochs=abc"], 'epochs must be int; got "abc"'),
        (["epochs=1.5"], 'epochs must be int; got "1.5"'),
        (["epochs="], 'epochs must be int; got ""'),
        (["optimizer.rate=fast"], 'optimizer.rate must be float; got "fast"'),
        (["optimizer.rate=nan"], 'optimizer.rate must be float; got "nan"'),
        (["shuffle=maybe"], 'shuffle must be true | false; got "maybe"'),
        (["sizes=1,a"], r'sizes must be tuple\[int, ...\]; got "1,a"'),
        (["optimizer.betas=1"], r'betas must be tuple\[float, float\]; got "1"'),
        (["optimizer.name=adm"], 'optimizer.name must be adam | sgd; got "adm"'),
        (["clip=abc"], 'clip must be float | none; got "abc"'),
        (["pool=max"], 'pool must be MAX | MEAN; got "max"'),
        (["optimizer=adam"], "optimizer must be set by its keys optimizer.name, "),
        (["ema=none", "ema.decay=1"], "ema and ema.decay are both given"),
        (["ema.decay=1", "ema=none"], "ema and ema.decay are both given"),
        (["optimizer.rate=-1"], "optimizer.rate=-1: rate must be positive; got -1.0"),
        (["=3"], "no key ; there are: epochs"),
    ],
)
def test_rejects_what_it_cannot_set(texts, message):
    with pytest.raises(
        ValueError, match=message.replace("|", r"\|").replace("?", r"\?")
    ):
        config.override(Config(), texts)


def test_checks_of_the_dataclass_see_all_its_keys_together():
    @dataclass(frozen=True)
    class Span:
        first: int = 0
        last: int = 1

        def __post_init__(self):
            if self.first >= self.last:
                raise ValueError("first must be below last")

    # either alone, in this order, would be refused
    assert config.override(Span(), ["first=5", "last=9"]) == Span(5, 9)
    with pytest.raises(ValueError, match="first=5: first must be below last"):
        config.override(Span(), ["first=5"])


def test_a_class_may_require_keys():
    assert config.override(Required, ["source=x"]) == Required(Path("x"))
    with pytest.raises(ValueError, match="source must be given: there is no default"):
        config.override(Required, ["rate=1"])


def test_rejects_what_is_no_dataclass():
    with pytest.raises(ValueError, match="a config must be a dataclass; got 3"):
        config.override(3, [])


def test_rejects_a_type_that_is_nowhere():
    @dataclass(frozen=True)
    class Holder:
        part: "Gone" = 1

    with pytest.raises(ValueError, match="a type in Holder is unknown: name 'Gone'"):
        config.describe(Holder)


def test_the_original_stays():
    before = Config()
    config.override(before, ["optimizer.rate=1", "epochs=1"])
    assert before == Config()


def test_describe_names_every_key_that_override_takes():
    keys = {key.name: key for key in config.describe(Config)}
    assert keys["optimizer.rate"] == ("optimizer.rate", "float", "0.001")
    assert keys["sizes"] == ("sizes", "tuple[int, ...]", "300,100")
    assert keys["clip"] == ("clip", "float | none", "none")
    assert keys["shuffle"].default == "true"
    assert config.describe(Required)[0].default == "required"
    assert "optimizer" not in keys
    # what it shows can be typed back
    typed = [f"{k.name}={k.default}" for k in keys.values() if k.name != "ema.decay"]
    assert config.override(Config(), typed) == Config()


def test_difference_names_the_keys_and_both_values():
    other = config.override(Config(), ["epochs=3", "optimizer.name=sgd"])
    assert config.difference(Config(), other) == {
        "epochs": (10, 3),
        "optimizer.name": ("adam", "sgd"),
    }
    assert config.difference(Config(), Config()) == {}


configs = st.builds(
    Config,
    epochs=st.integers(),
    shuffle=st.booleans(),
    note=st.text(),
    sizes=st.lists(st.integers(), max_size=3).map(tuple),
    clip=st.none() | st.floats(allow_nan=False),
    folder=st.sampled_from([Path("a"), Path("~/b"), Path("/c d")]),
    pool=st.sampled_from(Pool),
    level=st.sampled_from([1, 2, "high"]),
    count=st.integers() | st.text(),
    optimizer=st.builds(Optimizer, rate=st.floats(min_value=0.5)),
    ema=st.none() | st.builds(Ema),
)


@given(configs)
def test_json_there_and_back(value):
    text = json.dumps(config.to_dict(value))
    assert config.from_dict(Config, json.loads(text)) == value


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epoch": 3}, "no key epoch; did you mean epochs"),
        (
            {"optimizer": {"rte": 3}},
            "no key optimizer.rte; did you mean optimizer.rate",
        ),
        ({"epochs": "3"}, 'epochs must be int; got "3"'),
        ({"epochs": True}, "epochs must be int; got True"),
        ({"pool": ["MAX"]}, "pool must be MAX"),
        ({"optimizer": {"rate": None}}, "optimizer.rate must be float; got None"),
        ({"optimizer": {"rate": -1.0}}, "optimizer: rate must be positive"),
    ],
)
def test_from_dict_rejects(values, message):
    with pytest.raises(ValueError, match=message):
        config.from_dict(Config, values)


def test_from_dict_takes_defaults_of_new_fields():
    assert config.from_dict(Config, {"epochs": 3}) == Config(epochs=3)


def test_to_dict_rejects_what_json_cannot_hold():
    @dataclass(frozen=True)
    class Holder:
        inner: object = dataclasses.field(default_factory=dict)

    with pytest.raises(ValueError, match=r"inner must be None.*; got dict"):
        config.to_dict(Holder())


def test_several_dataclasses_in_one_field_are_refused():
    @dataclass(frozen=True)
    class Either:
        part: Optimizer | Ema | None = None

    with pytest.raises(ValueError, match="several dataclasses"):
        config.describe(Either)
