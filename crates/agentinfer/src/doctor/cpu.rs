//! What the build uses of the CPU and the GPU.
//!
//! llama.cpp is compiled for exactly the features that rustc is told to use. A build without
//! `target-cpu=native` works everywhere and is several times slower: the one trap to find here.

use super::Finding;

const REBUILD: &str = "rebuild here with `make build` (it compiles for this CPU; if RUSTFLAGS is \
                       set, it overrides .cargo/config.toml: unset it)";

/// A CPU feature that matters to inference.
struct Feature {
    name: &'static str,
    /// Without it the build is a baseline build.
    vital: bool,
    compiled: bool,
    present: bool,
}

macro_rules! features {
    ($detected:ident: $($name:tt $vital:literal),+ $(,)?) => {
        [$(Feature {
            name: $name,
            vital: $vital,
            compiled: cfg!(target_feature = $name),
            present: $detected!($name),
        }),+]
    };
}

#[cfg(target_arch = "x86_64")]
fn known() -> impl IntoIterator<Item = Feature> {
    use std::arch::is_x86_feature_detected;
    features!(is_x86_feature_detected:
        "avx" true, "avx2" true, "fma" true, "f16c" true, "bmi2" true,
        "avx512f" false, "avx512bw" false, "avx512vl" false, "avx512vnni" false,
        "avx512bf16" false,
    )
}

#[cfg(target_arch = "aarch64")]
fn known() -> impl IntoIterator<Item = Feature> {
    use std::arch::is_aarch64_feature_detected;
    features!(is_aarch64_feature_detected:
        "neon" true, "dotprod" true, "fp16" false, "i8mm" false, "bf16" false, "sve" false,
    )
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn known() -> impl IntoIterator<Item = Feature> {
    []
}

/// Compares what was compiled in with what the CPU has.
pub(super) fn features() -> Finding {
    judge(known())
}

fn judge(features: impl IntoIterator<Item = Feature>) -> Finding {
    const CHECK: &str = "CPU features";
    let (used, unused): (Vec<_>, Vec<_>) = features
        .into_iter()
        .filter(|it| it.present)
        .partition(|it| it.compiled);
    let names = |list: &[Feature]| list.iter().map(|it| it.name).collect::<Vec<_>>().join(" ");
    if unused.iter().any(|it| it.vital) {
        let found = format!("a baseline build: the CPU's {} is not used", names(&unused));
        return Finding::fail(CHECK, found, REBUILD);
    }
    if !unused.is_empty() {
        let found = format!("uses {}; leaves {} unused", names(&used), names(&unused));
        return Finding::warn(CHECK, found, REBUILD);
    }
    let found = if used.is_empty() {
        "none known of".to_owned()
    } else {
        names(&used)
    };
    Finding::ok(CHECK, found)
}

/// What llama.cpp itself was compiled with.
pub(super) fn llama() -> Finding {
    let avx2 = known()
        .into_iter()
        .any(|it| it.name == "avx2" && it.present);
    judge_llama(&agentinfer_llama::system_info(), avx2)
}

fn judge_llama(info: &str, avx2: bool) -> Finding {
    const CHECK: &str = "llama.cpp";
    let shown = info.split_whitespace().collect::<Vec<_>>().join(" ");
    if avx2 && !shown.contains("AVX2 = 1") {
        let found = format!("compiled without AVX2, which the CPU has: {shown}");
        return Finding::fail(CHECK, found, REBUILD);
    }
    Finding::ok(CHECK, shown)
}

/// Whether layers can be offloaded.
pub(super) fn gpu() -> Finding {
    const CHECK: &str = "GPU";
    let compiled: Vec<&str> = [
        ("cuda", cfg!(feature = "cuda")),
        ("metal", cfg!(feature = "metal")),
        ("vulkan", cfg!(feature = "vulkan")),
    ]
    .into_iter()
    .filter_map(|(name, compiled)| compiled.then_some(name))
    .collect();
    if !compiled.is_empty() {
        return Finding::ok(CHECK, format!("compiled in: {}", compiled.join(" ")));
    }
    if std::path::Path::new("/proc/driver/nvidia").exists() {
        let fix = "rebuild with `cargo build --release --features cuda` (needs the CUDA toolkit)";
        return Finding::warn(
            CHECK,
            "an NVIDIA GPU is here, but the build has no cuda",
            fix,
        );
    }
    Finding::ok(CHECK, "none compiled in: everything runs on the CPU")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn a_baseline_build_fails_and_an_old_cpu_does_not() {
        let feature = |name, vital, compiled, present| Feature {
            name,
            vital,
            compiled,
            present,
        };
        for (features, level) in [
            (vec![feature("avx2", true, true, true)], Level::Ok),
            (vec![feature("avx2", true, false, true)], Level::Fail),
            (vec![feature("avx2", true, false, false)], Level::Ok),
            (vec![feature("avx512f", false, false, true)], Level::Warn),
            (vec![], Level::Ok),
        ] {
            let finding = judge(features);
            assert_eq!(finding.level, level, "{finding:?}");
            assert_eq!(finding.fix.is_some(), level != Level::Ok);
        }
    }

    #[test]
    fn llama_without_avx2_fails_where_the_cpu_has_it() {
        assert_eq!(
            judge_llama("CPU : AVX2 = 1 | F16C = 1 |", true).level,
            Level::Ok
        );
        assert_eq!(judge_llama("CPU : SSE3 = 1 |", true).level, Level::Fail);
        assert_eq!(judge_llama("CPU : NEON = 1 |", false).level, Level::Ok);
    }
}
