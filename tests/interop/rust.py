"""The compiled examples in Rust. Building them requires cargo, which these tests do not use."""

import os
import pathlib

WANTED = os.environ.get("KEYSWAP_WITHOUT_RUST") != "1"


def example(name):
    """The path of a compiled example. KEYSWAP_RUST_EXAMPLE is that of examples/verify, and the
    others are in the same directory."""
    path = os.environ.get("KEYSWAP_RUST_EXAMPLE")
    assert path, "KEYSWAP_RUST_EXAMPLE must be the compiled examples/verify/rust.rs; KEYSWAP_WITHOUT_RUST=1 runs without it"
    path = pathlib.Path(path).with_name(name)
    assert path.is_file(), f"{path} is missing: cargo build --examples makes it"
    return path
