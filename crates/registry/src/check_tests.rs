use super::*;

fn login(change: impl FnOnce(&mut RegistryLogin)) -> RegistryLogin {
    let mut login = RegistryLogin::default();
    login.server = "harbor.example.org".to_owned();
    change(&mut login);
    login
}

fn by_file() -> RegistryLogin {
    login(|it| {
        it.username = Some("me".to_owned());
        it.password_file = Some("/run/secrets/harbor".into());
    })
}

fn said(logins: &[RegistryLogin]) -> String {
    check(logins).map(|_| "nothing".to_owned()).unwrap_or_else(|error| error.to_string())
}

#[test]
fn a_login_with_one_source_makes_sense() {
    let by_variable = login(|it| {
        it.server = "docker.io".to_owned();
        it.username = Some("me".to_owned());
        it.password_env = Some("HARBOR".to_owned());
    });
    let by_helper = login(|it| {
        it.server = "harbor.example.org/team".to_owned();
        it.credential_helper = Some("secretservice".to_owned());
    });
    assert_eq!(said(&[by_file(), by_variable, by_helper]), "nothing");
    assert_eq!(said(&[]), "nothing");
}

#[test]
fn what_makes_no_sense_is_named_by_index_and_key() {
    type Change = fn(&mut RegistryLogin);
    let table: &[(Change, &str)] = &[
        (|it| it.server = "https://h.example.org".to_owned(), "server: has the scheme"),
        (|it| it.username = None, "username: is missing"),
        (|it| it.username = Some(String::new()), "username: is empty"),
        (|it| it.username = Some("a:b".to_owned()), "username: has a colon"),
        (|it| it.username = Some("a\n".to_owned()), "username: has a control character"),
        (|it| it.password_file = None, "passwordFile: is missing: a login has one of"),
        (|it| it.password_file = Some("".into()), "passwordFile: is empty"),
        (|it| it.password_env = Some("P".to_owned()), "passwordEnv: conflicts with `passwordFile`"),
        (
            |it| it.credential_helper = Some("pass".to_owned()),
            "credentialHelper: conflicts with `passwordFile`",
        ),
        (
            |it| {
                it.password_file = None;
                it.password_env = Some("A=B".to_owned());
            },
            "passwordEnv: is not a variable name",
        ),
        (
            |it| {
                it.password_file = None;
                it.password_env = Some("P".to_owned());
                it.credential_helper = Some("pass".to_owned());
            },
            "credentialHelper: conflicts with `passwordEnv`",
        ),
        (
            |it| {
                it.password_file = None;
                it.credential_helper = Some("pass".to_owned());
            },
            "username: conflicts with `credentialHelper`",
        ),
        (
            |it| {
                it.username = None;
                it.password_file = None;
                it.credential_helper = Some("../evil".to_owned());
            },
            "credentialHelper: is not a helper's plain name",
        ),
    ];
    for (change, expected) in table {
        let mut wrong = by_file();
        change(&mut wrong);
        let other = login(|it| {
            it.server = "docker.io".to_owned();
            it.credential_helper = Some("pass".to_owned());
        });
        let said = said(&[other, wrong]);
        assert!(said.starts_with(&format!("job.registries[1].{expected}")), "{said}");
    }
}

#[test]
fn no_server_stands_twice_by_whatever_name() {
    assert_eq!(
        said(&[by_file(), by_file()]),
        "job.registries[1].server: is already the server of login [0]"
    );
    let named = |server: &str| {
        let mut login = by_file();
        login.server = server.to_owned();
        login
    };
    assert!(said(&[named("docker.io"), named("index.docker.io")]).contains("already"));
    assert_eq!(said(&[named("h.example.org"), named("h.example.org/team")]), "nothing");
}
