//! What a shell offers for `--set KEY=VALUE`.

use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use longshore::Config;
use longshore::config::keys_with_choices;

/// Completes `KEY=VALUE` of the configuration.
pub fn completer() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &std::ffi::OsStr| {
        let current = current.to_string_lossy();
        setting(&current, &keys_with_choices::<Config>())
            .into_iter()
            .map(CompletionCandidate::new)
            .collect()
    })
}

/// Returns what `current`, the beginning of `KEY=VALUE`, may become.
fn setting(current: &str, keys: &[(String, Vec<String>)]) -> Vec<String> {
    let of_key = |(key, choices): &(String, Vec<String>)| match current.split_once('=') {
        None => vec![format!("{key}=")],
        Some((begun, _)) if begun == key => {
            choices.iter().map(|choice| format!("{key}={choice}")).collect()
        }
        Some(_) => Vec::new(),
    };
    keys.iter().flat_map(of_key).filter(|text| text.starts_with(current)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_completed_before_its_value() {
        let keys = [
            ("job.timeout".to_owned(), Vec::new()),
            (
                "job.docker.imagePullPolicy".to_owned(),
                vec!["Always".to_owned(), "Never".to_owned()],
            ),
        ];
        let complete = |current: &str| setting(current, &keys);
        assert_eq!(complete("job.t"), ["job.timeout="]);
        assert_eq!(complete(""), ["job.timeout=", "job.docker.imagePullPolicy="]);
        assert_eq!(complete("job.docker.imagePullPolicy=A"), ["job.docker.imagePullPolicy=Always"]);
        assert!(complete("job.timeout=1").is_empty());
        assert!(complete("job.x").is_empty());
    }

    #[test]
    fn the_keys_of_the_configuration_have_their_choices() {
        let keys = keys_with_choices::<Config>();
        let choices = |key: &str| keys.iter().find(|(it, _)| it == key).map(|it| it.1.clone());
        let profiles = choices("job.securityProfile").unwrap();
        assert!(profiles.contains(&"restricted".to_owned()), "{profiles:?}");
        assert_eq!(choices("job.timeout"), Some(Vec::new()));
        assert_eq!(choices("job.keepJobFolder").unwrap(), ["true", "false"]);
    }
}
