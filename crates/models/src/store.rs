//! The directory where models are kept.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::pull::sha256_of;
use crate::{ModelEntry, ModelsError, Puller, SourceChoice, TerminalProgress, catalog, find, gguf};

/// A directory of model files, one per name.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
}

/// What the store has of a model, judged by its file's size alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// The file is there with the catalog's size.
    Installed,
    /// There is no file.
    Missing,
    /// There is a file of another size.
    Damaged {
        /// The size it has, in bytes.
        bytes: u64,
    },
}

impl Store {
    /// The store in `dir`, which need not exist yet.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The user's store, in [`store_dir`].
    ///
    /// # Errors
    /// [`ModelsError::NoHome`] when no directory is known.
    pub fn of_user() -> Result<Self, ModelsError> {
        store_dir().map(Self::at)
    }

    /// The store's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the file of `entry` is or will be.
    pub fn path(&self, entry: &ModelEntry) -> PathBuf {
        self.dir.join(entry.file_name())
    }

    /// What the store has of `entry`. Cheap: looks at the file's size only.
    pub fn status(&self, entry: &ModelEntry) -> Status {
        match fs::metadata(self.path(entry)) {
            Ok(metadata) if metadata.len() == entry.bytes => Status::Installed,
            Ok(metadata) => Status::Damaged {
                bytes: metadata.len(),
            },
            Err(_) => Status::Missing,
        }
    }

    /// Reads the whole file of `entry` and compares it with the catalog.
    ///
    /// # Errors
    /// [`ModelsError::NotInstalled`], [`ModelsError::Damaged`], or [`ModelsError::Io`].
    pub fn verify(&self, entry: &ModelEntry) -> Result<(), ModelsError> {
        let path = self.installed(entry)?;
        let found = sha256_of(&path)?;
        if found != entry.sha256 {
            let detail = format!("its SHA-256 is {found} instead of {}", entry.sha256);
            return Err(ModelsError::Damaged {
                name: entry.name.to_owned(),
                path,
                detail,
            });
        }
        Ok(())
    }

    /// The model file that `name_or_path` stands for: an installed model of the catalog or any
    /// GGUF file.
    ///
    /// # Errors
    /// Names: [`ModelsError::UnknownModel`], [`ModelsError::NotInstalled`],
    /// [`ModelsError::Damaged`]. Paths: [`ModelsError::MissingFile`], [`ModelsError::NotGguf`],
    /// [`ModelsError::CorruptGguf`].
    pub fn resolve(&self, name_or_path: &str) -> Result<PathBuf, ModelsError> {
        let path = if is_path(name_or_path) {
            PathBuf::from(name_or_path)
        } else {
            self.installed(find(name_or_path)?)?
        };
        gguf::check(&path)?;
        Ok(path)
    }

    fn installed(&self, entry: &ModelEntry) -> Result<PathBuf, ModelsError> {
        let (name, path) = (entry.name.to_owned(), self.path(entry));
        match self.status(entry) {
            Status::Installed => Ok(path),
            Status::Missing => Err(ModelsError::NotInstalled { name }),
            Status::Damaged { bytes } => {
                let detail = format!("it has {bytes} bytes instead of {}", entry.bytes);
                Err(ModelsError::Damaged { name, path, detail })
            }
        }
    }
}

/// Names have no separator and no extension `gguf`; a file that is there is a path in any case.
fn is_path(name_or_path: &str) -> bool {
    let path = Path::new(name_or_path);
    let named = catalog().iter().any(|entry| entry.name == name_or_path);
    !named
        && (path.components().count() > 1
            || path.is_absolute()
            || path
                .extension()
                .is_some_and(|it| it.eq_ignore_ascii_case("gguf"))
            || path.is_file())
}

/// Where models are kept: `models` under `$AGENTINFER_HOME`, else under
/// `$XDG_CACHE_HOME/agentinfer`, else under `~/.cache/agentinfer`.
///
/// # Errors
/// [`ModelsError::NoHome`] when none of the variables nor a home directory is set.
pub fn store_dir() -> Result<PathBuf, ModelsError> {
    store_dir_from(|name| {
        env::var_os(name)
            .filter(|it| !it.is_empty())
            .map(PathBuf::from)
    })
}

fn store_dir_from(var: impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf, ModelsError> {
    let home = var("AGENTINFER_HOME")
        .or_else(|| var("XDG_CACHE_HOME").map(|dir| dir.join("agentinfer")))
        .or_else(|| var("HOME").map(|dir| dir.join(".cache/agentinfer")))
        .or_else(|| var("USERPROFILE").map(|dir| dir.join(".cache/agentinfer")));
    home.map(|dir| dir.join("models"))
        .ok_or(ModelsError::NoHome)
}

/// [`Store::resolve`] in the user's store.
///
/// # Errors
/// As [`Store::resolve`].
pub fn resolve(name_or_path: &str) -> Result<PathBuf, ModelsError> {
    Store::of_user()?.resolve(name_or_path)
}

/// Makes sure that `name_or_path` is there, pulling a catalog model that is not, with progress on
/// standard error; returns its file.
///
/// # Errors
/// As [`resolve`] and [`pull`].
pub fn ensure(name_or_path: &str, choice: SourceChoice) -> Result<PathBuf, ModelsError> {
    match resolve(name_or_path) {
        Err(ModelsError::NotInstalled { name } | ModelsError::Damaged { name, .. }) => {
            pull(&name, choice)
        }
        other => other,
    }
}

/// Pulls the catalog model `name` into the user's store, with progress on standard error. A file
/// that is already there is verified, and replaced if it is damaged.
///
/// # Errors
/// [`ModelsError::UnknownModel`], and as [`Puller::pull`].
pub fn pull(name: &str, choice: SourceChoice) -> Result<PathBuf, ModelsError> {
    let (store, entry) = (Store::of_user()?, find(name)?);
    let sources = choice.sources();
    Puller::new(&store, &sources, &TerminalProgress::default()).pull(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_follows_the_environment() {
        type Case = (
            &'static [(&'static str, &'static str)],
            Option<&'static str>,
        );
        let cases: [Case; 4] = [
            (
                &[("AGENTINFER_HOME", "/a"), ("XDG_CACHE_HOME", "/x")],
                Some("/a/models"),
            ),
            (
                &[("XDG_CACHE_HOME", "/x"), ("HOME", "/h")],
                Some("/x/agentinfer/models"),
            ),
            (&[("HOME", "/h")], Some("/h/.cache/agentinfer/models")),
            (&[], None),
        ];
        for (vars, expected) in cases {
            let found = store_dir_from(|name| {
                vars.iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| PathBuf::from(value))
            });
            assert_eq!(found.ok(), expected.map(PathBuf::from), "{vars:?}");
        }
    }

    #[test]
    fn names_and_paths_are_told_apart() {
        for (text, expected) in [
            ("smollm2-135m", false),
            ("unheard-of", false),
            ("qwen2.5-coder-0.5b", false),
            ("./smollm2-135m", true),
            ("model.gguf", true),
            ("MODEL.GGUF", true),
            ("/models/a.bin", true),
            ("dir/a", true),
        ] {
            assert_eq!(is_path(text), expected, "{text}");
        }
    }

    #[test]
    fn each_state_of_a_named_model_has_its_own_error() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path());
        let entry = find("smollm2-135m").unwrap();
        assert!(matches!(
            store.resolve(entry.name),
            Err(ModelsError::NotInstalled { .. })
        ));
        fs::write(store.path(entry), b"GGUF").unwrap();
        let text = store.resolve(entry.name).unwrap_err().to_string();
        assert!(
            text.contains("it has 4 bytes instead of 98362432"),
            "{text}"
        );
        assert!(text.contains("models pull smollm2-135m"), "{text}");
        assert_eq!(store.status(entry), Status::Damaged { bytes: 4 });
        let file = fs::File::create(store.path(entry)).unwrap();
        file.set_len(entry.bytes).unwrap();
        assert_eq!(store.status(entry), Status::Installed);
        let text = store.verify(entry).unwrap_err().to_string();
        assert!(text.contains("its SHA-256 is"), "{text}");
        assert!(matches!(
            store.resolve(entry.name),
            Err(ModelsError::NotGguf { .. })
        ));
    }
}
