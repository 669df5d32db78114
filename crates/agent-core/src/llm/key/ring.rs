//! The key in use, and where to read the next one: rotation without restart.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{ApiKey, KeyError, redact};

/// Most bytes of a file that holds a key.
const LONGEST: u64 = 4_096;

/// Where a key comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum KeySource {
    /// From `<var>_<ENVIRONMENT>` where an environment is named, then from `var`.
    Env {
        /// The variable.
        var: String,
        /// Such as `dev`.
        environment: Option<String>,
    },
    /// From a file that holds the key alone; white space around it, and a byte order mark, are
    /// trimmed.
    File(PathBuf),
}

impl Default for KeySource {
    fn default() -> Self {
        KeySource::Env { var: "ANTHROPIC_API_KEY".to_owned(), environment: None }
    }
}

/// Names come from people, and some put the key itself where its name belongs.
impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeySource::Env { .. } => f.write_str(&redact(&self.variables().join(" or "))),
            KeySource::File(path) => f.write_str(&redact(&path.display().to_string())),
        }
    }
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySource({self})")
    }
}

impl KeySource {
    /// The variables to read, the first that is set wins.
    fn variables(&self) -> Vec<String> {
        let KeySource::Env { var, environment } = self else { return Vec::new() };
        let specific = environment.iter().map(|name| {
            let name = name.to_uppercase().replace(|c: char| !c.is_ascii_alphanumeric(), "_");
            format!("{var}_{name}")
        });
        specific.chain([var.clone()]).collect()
    }

    fn read(&self, env: &EnvReader, again: bool) -> Result<ApiKey, KeyError> {
        if let KeySource::File(path) = self {
            let shown = || PathBuf::from(redact(&path.display().to_string()));
            let text = read_file(path, again)
                .map_err(|source| KeyError::Unreadable { path: shown(), source })?;
            // Some editors begin a file with a byte order mark.
            return ApiKey::parse(text.trim_start_matches('\u{feff}').trim())
                .map_err(|fault| KeyError::InFile { path: shown(), fault });
        }
        let variables = self.variables();
        for var in &variables {
            if let Some(text) = env(var) {
                let var = redact(var);
                return ApiKey::parse(&text).map_err(|fault| KeyError::InVariable { var, fault });
            }
        }
        let verb = if variables.len() > 1 { "are" } else { "is" };
        let looked = redact(&format!("{} {verb}", variables.join(" and ")));
        let var = redact(variables.first().map_or("", |var| var));
        Err(KeyError::NotSet { looked, var })
    }
}

/// The text of a file. A pipe can be read at the start; `again` it could hold up everyone, since
/// nobody may ever write to it.
fn read_file(path: &Path, again: bool) -> io::Result<String> {
    if again && !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file any more"));
    }
    let mut text = String::new();
    File::open(path)?.take(LONGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too long for a key"));
    }
    Ok(text)
}

type EnvReader = dyn Fn(&str) -> Option<String> + Send + Sync;

/// The key in use; cheap to clone, and all clones rotate together.
#[derive(Clone)]
pub struct KeyRing(Arc<Ring>);

struct Ring {
    source: KeySource,
    env: Box<EnvReader>,
    keys: Mutex<Keys>,
}

struct Keys {
    current: Arc<ApiKey>,
    /// The one before: a call that was made with it may still be answered.
    previous: Option<Arc<ApiKey>>,
}

impl KeyRing {
    /// Reads the key from `source`; `env` looks up a variable, now and at each reload.
    ///
    /// # Errors
    ///
    /// [`KeyError`] says where it looked, what is wrong, and how to set the key.
    pub fn load(
        source: KeySource,
        env: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Result<KeyRing, KeyError> {
        let current = Arc::new(source.read(&env, false)?);
        let keys = Mutex::new(Keys { current, previous: None });
        Ok(KeyRing(Arc::new(Ring { source, env: Box::new(env), keys })))
    }

    /// The key to use for the next attempt.
    pub fn current(&self) -> Arc<ApiKey> {
        Arc::clone(&self.keys().current)
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.0.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `text` with the key in use and the one before it masked wherever they stand; `None` where
    /// they do not.
    pub fn mask(&self, text: &str) -> Option<String> {
        let (current, previous) = {
            let keys = self.keys();
            (Arc::clone(&keys.current), keys.previous.clone())
        };
        let masked = current.mask(text);
        let text = masked.as_deref().unwrap_or(text);
        previous.and_then(|previous| previous.mask(text)).or(masked)
    }

    /// Reads the source again; the masked key where it changed.
    ///
    /// # Errors
    ///
    /// [`KeyError`] as at the load; the old key stays in use.
    pub fn reload(&self) -> Result<Option<String>, KeyError> {
        let fresh = self.0.source.read(&*self.0.env, true)?;
        let mut keys = self.keys();
        if fresh.is_same(&keys.current) {
            return Ok(None);
        }
        let masked = fresh.masked().to_owned();
        keys.previous = Some(std::mem::replace(&mut keys.current, Arc::new(fresh)));
        Ok(Some(masked))
    }

    /// Where the key comes from.
    pub fn source(&self) -> &KeySource {
        &self.0.source
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyRing").field(&self.0.source).field(&self.current()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(environment: Option<&str>) -> KeySource {
        let environment = environment.map(str::to_owned);
        KeySource::Env { var: "ANTHROPIC_API_KEY".to_owned(), environment }
    }

    #[test]
    fn the_variable_of_the_environment_comes_first() {
        let env = |var: &str| Some(format!("sk-ant-{var}").to_lowercase());
        let ring = KeyRing::load(source(Some("my-dev")), env).unwrap();
        assert_eq!(ring.current().masked(), "sk-ant-***_dev");
        let general = |var: &str| (var == "ANTHROPIC_API_KEY").then(|| "sk-ant-abcdefgh".into());
        assert!(KeyRing::load(source(Some("dev")), general).is_ok());
        let missing = KeyRing::load(source(Some("dev")), |_| None).unwrap_err().to_string();
        assert!(missing.contains("ANTHROPIC_API_KEY_DEV and ANTHROPIC_API_KEY are"), "{missing}");
        assert!(missing.contains("export ANTHROPIC_API_KEY_DEV="), "{missing}");
    }

    #[test]
    fn white_space_is_trimmed_from_a_file_and_refused_from_the_environment() {
        let env = |_: &str| Some("sk-ant-abcdefgh\n".to_owned());
        let error = KeyRing::load(source(None), env).unwrap_err().to_string();
        assert!(error.contains("white space") && !error.contains("abcdefgh"), "{error}");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "\u{feff} sk-ant-abcdefgh\r\n").unwrap();
        assert!(KeyRing::load(KeySource::File(file.path().to_owned()), |_| None).is_ok());
    }

    #[test]
    fn a_changed_key_is_taken_and_a_bad_one_is_not() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "sk-ant-abcdefgh").unwrap();
        let ring = KeyRing::load(KeySource::File(file.path().to_owned()), |_| None).unwrap();
        assert_eq!(ring.reload().unwrap(), None);
        std::fs::write(file.path(), "sk-ant-12345678").unwrap();
        assert_eq!(ring.reload().unwrap().as_deref(), Some("sk-ant-***5678"));
        std::fs::write(file.path(), "sk-ant-admin01-x").unwrap();
        assert!(ring.reload().is_err());
        assert_eq!(ring.clone().current().masked(), "sk-ant-***5678");
    }

    #[test]
    fn the_key_in_use_and_the_one_before_it_are_masked_and_nothing_else_is() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "sk-ant-abcdefgh").unwrap();
        let ring = KeyRing::load(KeySource::File(file.path().to_owned()), |_| None).unwrap();
        std::fs::write(file.path(), "sk-ant-12345678").unwrap();
        ring.reload().unwrap();
        let text = "sk-ant-abcdefgh, sk-ant-12345678,sk-ant-12345678 and sk-ant-abcdefg";
        let masked = "sk-ant-***efgh, sk-ant-***5678,sk-ant-***5678 and sk-ant-abcdefg";
        assert_eq!(ring.mask(text).as_deref(), Some(masked));
        assert_eq!(ring.mask("a key begins sk-ant-"), None);
    }
}
