"""Networks of the zoo against transformers on PyTorch, on the same cores.

    python benchmarks/zoo_vs_torch.py [--case resnet50-1 gpt2-decode gpt2-train ...]

Forward of ResNet-50, ViT-B/16, BERT-base (128 tokens) and GPT-2 124M (128 tokens) for
batches of 1 and 8; 64 greedy tokens of GPT-2 after a prompt of 64; a training step of a
GPT-2 of 6 blocks, 384 wide, on 8 texts of 256 tokens. Float32, weights drawn by each
side. Every contestant is a process of its own, and they take turns. PyTorch runs eager
and under `torch.compile`; with a compiled model the cache of keys stays as it is.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

CASES = {  # name: (network, batch, calls in a timed block)
    "resnet50-1": ("resnet50", 1, 4),
    "resnet50-8": ("resnet50", 8, 1),
    "vit-1": ("vit", 1, 3),
    "vit-8": ("vit", 8, 1),
    "bert-1": ("bert", 1, 4),
    "bert-8": ("bert", 8, 1),
    "gpt2-1": ("gpt2", 1, 3),
    "gpt2-8": ("gpt2", 8, 1),
    "gpt2-decode": ("decode", 1, 1),
    "gpt2-train": ("train", 8, 1),
}
CONTESTANTS = ("jaxml", "torch eager", "torch compile")
TOKENS, PROMPT, NEW = 128, 64, 64
SMALL = {"vocab_size": 512, "width": 384, "depth": 6, "heads": 6}


def median(run, calls: int, blocks: int = 5) -> float:
    """Median milliseconds of a call of `run` over blocks of `calls`."""
    run()
    times = []
    for _ in range(blocks):
        start = time.perf_counter()
        for _ in range(calls):
            run()
        times.append((time.perf_counter() - start) / calls)
    return 1e3 * statistics.median(times)


def ours(kind: str, batch: int):
    """A call of our network, ready to be timed."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from jaxml.models.language import bert, generate, gpt2
    from jaxml.models.vision import resnet, vit

    rng = np.random.default_rng(0)
    ids = lambda length, words: jnp.asarray(rng.integers(0, words, (batch, length)))
    images = jnp.asarray(rng.normal(size=(batch, 224, 224, 3)), jnp.float32)
    if kind == "train":
        return _training(ids(256, SMALL["vocab_size"]))
    model, given = {
        "resnet50": lambda: (resnet.resnet50(), images),
        "vit": lambda: (vit.vit_base_patch16_224(), images),
        "bert": lambda: (bert.bert_base(), ids(TOKENS, 30522)),
        "gpt2": lambda: (gpt2.gpt2(), ids(TOKENS, 50257)),
        "decode": lambda: (gpt2.gpt2(), ids(PROMPT, 50257)),
    }[kind]()
    variables = jax.jit(model.init)(jax.random.key(0), given)
    if kind == "decode":
        write = lambda: generate.generate(model, variables, given, max_new_tokens=NEW)
        return lambda: jax.block_until_ready(write())
    forward = jax.jit(model.apply)  # all that it gives: nothing is left out
    return lambda: jax.block_until_ready(forward(variables, given))


def _training(ids):
    import jax
    import optax

    from jaxml.models.language import gpt2
    from jaxml.train import step as train

    model = gpt2.GPT2(
        **SMALL,
        max_positions=256,
        dropout=0.0,
        attention_dropout=0.0,
        embedding_dropout=0.0,
    )
    tx = optax.adamw(1e-3, weight_decay=0.1)

    def loss_fn(params, extra, batch, key):
        logits = model.apply({"params": params}, batch).logits[:, :-1]
        values = optax.softmax_cross_entropy_with_integer_labels(logits, batch[:, 1:])
        return values.mean(), (extra, {})

    params = jax.jit(model.init)(jax.random.key(0), ids)["params"]
    state = train.init(params, tx, key=jax.random.key(1), extra={})
    step = jax.jit(train.make_step(loss_fn, tx), donate_argnums=0)

    def run():
        nonlocal state
        state, _ = step(state, ids)
        jax.block_until_ready(state)

    return run


def theirs(kind: str, batch: int, compiled: bool):
    """The same network of transformers."""
    import torch
    import transformers

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(0)
    ids = lambda length, words: torch.randint(0, words, (batch, length))
    images = torch.randn(batch, 3, 224, 224)
    if kind == "train":
        return _their_training(ids(256, SMALL["vocab_size"]), compiled)
    model, given = {
        "resnet50": lambda: (
            transformers.ResNetForImageClassification(
                transformers.ResNetConfig(num_labels=1000)
            ),
            images,
        ),
        "vit": lambda: (
            transformers.ViTForImageClassification(
                transformers.ViTConfig(num_labels=1000)
            ),
            images,
        ),
        "bert": lambda: (
            transformers.BertModel(transformers.BertConfig()),
            ids(TOKENS, 30522),
        ),
        "gpt2": lambda: (
            transformers.GPT2LMHeadModel(transformers.GPT2Config()),
            ids(TOKENS, 50257),
        ),
        "decode": lambda: (
            transformers.GPT2LMHeadModel(transformers.GPT2Config()),
            ids(PROMPT, 50257),
        ),
    }[kind]()
    model.eval()
    if kind == "decode":
        if compiled:
            model.forward = torch.compile(model.forward)
        options = {
            "max_new_tokens": NEW,
            "min_new_tokens": NEW,
            "do_sample": False,
            "pad_token_id": 0,
        }
        run = lambda: model.generate(
            given, attention_mask=torch.ones_like(given), **options
        )
    else:
        forward = torch.compile(model) if compiled else model
        run = lambda: forward(given)

    def call():
        with torch.inference_mode():
            run()

    return call


def _their_training(ids, compiled: bool):
    import torch
    import transformers

    config = transformers.GPT2Config(
        vocab_size=SMALL["vocab_size"],
        n_embd=SMALL["width"],
        n_layer=SMALL["depth"],
        n_head=SMALL["heads"],
        n_positions=256,
        resid_pdrop=0.0,
        attn_pdrop=0.0,
        embd_pdrop=0.0,
    )
    model = transformers.GPT2LMHeadModel(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.1)
    forward = torch.compile(model) if compiled else model

    def run():
        optimizer.zero_grad(set_to_none=True)
        forward(ids, labels=ids).loss.backward()
        optimizer.step()

    return run


def child(case: str, name: str) -> None:
    """Time one contestant, and print what was measured."""
    kind, batch, calls = CASES[case]
    start = time.perf_counter()
    if name == "jaxml":
        run = ours(kind, batch)
    else:
        run = theirs(kind, batch, name == "torch compile")
    run()
    first = time.perf_counter() - start
    print(json.dumps({"ms": median(run, calls), "first": first}))


def measure(case: str, name: str) -> dict[str, float] | None:
    """Run one contestant in a process of its own; None if it fails."""
    command = [sys.executable, __file__, "--worker", case, name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{name} on {case} failed: {done.stderr.strip()[-300:]}", file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker", nargs=2, metavar=("CASE", "NAME"))
    args = parser.parse_args()
    if args.worker:
        return child(*args.worker)
    print(f"{'case':14}" + "".join(f"{name:>20}" for name in CONTESTANTS) + "  ratio")
    for case in args.case:
        found: dict[str, list] = {name: [] for name in CONTESTANTS}
        for _ in range(args.rounds):
            for name, rows in found.items():
                if (row := measure(case, name)) is not None:
                    rows.append(row)
        line, medians = f"{case:14}", {}
        for name, rows in found.items():
            if rows:
                medians[name] = statistics.median(row["ms"] for row in rows)
                first = statistics.median(row["first"] for row in rows)
                line += f"{medians[name]:10.1f} ({first:4.0f} s)"
            else:
                line += f"{'failed':>20}"
        for name in CONTESTANTS[1:]:
            if name in medians and "jaxml" in medians:
                line += f"  {medians[name] / medians['jaxml']:.2f} x {name[6:]}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
