//! Tests with arbitrary file content.

use longshore_core::ErrorKind;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::support::{Folder, image};

/// JSON of any shape, with the relevant words among its keys.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[A-Za-z0-9+/]{0,12}={0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key(), inner), 0..6)
                .prop_map(|entries| Value::from(entries.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    let words = [
        "auths",
        "credsStore",
        "credHelpers",
        "auth",
        "username",
        "password",
        "identitytoken",
        "registrytoken",
        "h.example.org",
        "https://h.example.org/v1/",
        "h.example.org/team",
        "https://index.docker.io/v1/",
        "docker.io",
    ];
    prop_oneof![8 => prop::sample::select(words.to_vec()).prop_map(str::to_owned), 1 => any::<String>()]
}

fn config() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        1 => prop::collection::vec(any::<u8>(), 0..200),
        1 => json().prop_map(|it| it.to_string().into_bytes()),
        6 => (json(), json(), key(), key()).prop_map(|(one, other, at, to)| {
            json!({"auths": {at: one.clone()}, "credHelpers": {to: other}, "x": one})
                .to_string().into_bytes()
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_configuration_of_docker_makes_the_search_fail(content in config()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let folder = Folder::new();
        folder.file("config.json", content);
        for name in ["h.example.org/team/app", "busybox"] {
            let found = runtime.block_on(folder.docker().find(&image(name), &[])).unwrap();
            prop_assert_eq!(found.auth.is_some(), found.origin.is_some());
        }
    }

    #[test]
    fn a_login_that_passes_the_check_never_fails_for_its_shape(
        server in "[a-z.:/0-9]{0,12}",
        username in prop::option::of(any::<String>()),
        variable in prop::option::of(any::<String>()),
        helper in prop::option::of("[a-z./]{0,4}"),
    ) {
        let mut login = crate::support::login(&server);
        login.username = username;
        login.password_env = variable.map(|it| format!("LONGSHORE_NO_SUCH_{it}"));
        login.credential_helper = helper;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let folder = Folder::new();
        let keyring = folder.keyring(vec![login.clone()]);
        let found = runtime.block_on(keyring.find(&image("h.example.org/x"), &[]));
        match (longshore_registry::Keyring::check(&[login]), found) {
            (Ok(()), Ok(found)) => prop_assert_eq!(found.auth, None),
            (Ok(()), Err(error)) => {
                prop_assert_eq!(error.kind(), ErrorKind::InvalidSpec);
                prop_assert!(error.to_string().contains("failed to"), "{}", error);
            }
            (Err(invalid), Err(error)) => {
                prop_assert!(error.to_string().contains(&invalid.reason), "{}", error);
            }
            (Err(invalid), Ok(_)) => prop_assert!(false, "{} was let through", invalid),
        }
    }
}
