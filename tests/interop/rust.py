"""The compiled examples in Rust. Building them needs cargo, which these tests do without."""

import os
import pathlib

WANTED = os.environ.get("KEYSWAP_WITHOUT_RUST") != "1"


def example(name):
    """KEYSWAP_RUST_EXAMPLE is the one of examples/verify; the others are beside it."""
    path = os.environ.get("KEYSWAP_RUST_EXAMPLE")
    assert path, "KEYSWAP_RUST_EXAMPLE must be the compiled examples/verify/rust.rs; KEYSWAP_WITHOUT_RUST=1 runs without it"
    path = pathlib.Path(path).with_name(name)
    assert path.is_file(), f"{path} is missing: cargo build --examples makes it"
    return path
