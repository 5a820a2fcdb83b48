use super::*;
use proptest::prelude::*;

fn check(input: &str, expected: &str) {
    assert_eq!(redact(input), expected, "{input}");
}

/// What stays as it is.
fn keep(text: &str) {
    check(text, text);
}

#[test]
fn secrets_leave_and_the_rest_stays() {
    check("redis://:s3cret@cache:6379/0", "redis://***@cache:6379/0");
    check("at http://h/p?token=abc#frag.", "at http://h/p?***");
    check("postgres://u:p@ss/w?rd@db/x", "postgres://***@db/x");
    check("Password: hunter2; retry", "Password:***; retry");
    check("PGPASSWORD=hunter2 psql", "PGPASSWORD=*** psql");
    check("\"password\": \"hun ter\", x", "\"password:***, x");
    check(
        "postgres://u:p{w|x\"y@db/x is down",
        "postgres://***@db/x is down",
    );
    check(
        "postgres://u:two words@db/x is down",
        "postgres://***@db/x is down",
    );
    check("db-password=hunter2", "db-password=***");
    check("x-api-key: abc, api_key=def", "x-api-key:***, api_key=***");
    check("access-key-passphrase=x y", "access-key-passphrase=*** y");
    check(
        "spring.datasource.password: hunter2",
        "spring.datasource.password:***",
    );
    check(r"password='hun\'ter2' x", "password=*** x");
    check("a\r\nb", "a  b");
}

#[test]
fn what_proves_who_somebody_is_leaves() {
    check(
        "401 for Authorization: Bearer abc.def-ghi",
        "401 for Authorization:***",
    );
    check(
        "authorization: Basic dXNlcjpwdw==, then",
        "authorization:***, then",
    );
    check(
        "Proxy-Authorization: Digest username=\"a\", nonce=\"b\"",
        "Proxy-Authorization:***",
    );
    check(
        "{\"authorization\": \"Bearer abc def\", \"host\": \"api\"}",
        "{\"authorization:***, \"host\": \"api\"}",
    );
    check(
        "Authorization: AWS4-HMAC-SHA256 Credential=AKIA/x, Signature=ff\nnext",
        "Authorization:*** next",
    );
    check(
        "sent AWS4-HMAC-SHA256 Credential=AKIA/x, SignedHeaders=host, Signature=ff",
        "sent AWS4-HMAC-SHA256 Credential=***, SignedHeaders=host, Signature=***",
    );
    check("Cookie: sid=abc; theme=dark", "Cookie:***");
    check(
        "set-cookie: sid=abc; Path=/\nserver: x",
        "set-cookie:*** server: x",
    );
    check("refused with Bearer abc123def", "refused with Bearer ***");
    check(
        "got bearer eyJhbGciOi.eyJzdWIi.sig_x end",
        "got bearer *** end",
    );
    check("Basic dXNlcjpwdw== was refused", "Basic *** was refused");
    check(
        "bad token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
        "bad token ***",
    );
    check(
        "push with ghp_0123456789abcdefABCD failed",
        "push with *** failed",
    );
    check(
        "-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY----- x",
        "*** x",
    );
}

#[test]
fn pairs_leave_however_they_are_written() {
    check(
        "DefaultEndpointsProtocol=https;AccountName=shop;AccountKey=ab/c+d==;EndpointSuffix=x",
        "DefaultEndpointsProtocol=https;AccountName=shop;AccountKey=***;EndpointSuffix=x",
    );
    check(
        "Endpoint=sb://bus/;SharedAccessKeyName=root;SharedAccessKey=abc=",
        "Endpoint=sb://bus/;SharedAccessKeyName=root;SharedAccessKey=***",
    );
    check(
        "Server=db;UID=app;PWD={a;b};Database=x",
        "Server=db;UID=app;PWD=***;Database=x",
    );
    check(
        "{\"password\":\"hunter2\",\"user\":\"app\"}",
        "{\"password:***,\"user\":\"app\"}",
    );
    check(
        r#"body {\"password\":\"hun\\\"ter\",\"user\":\"app\"}"#,
        r#"body {\"password:***,\"user\":\"app\"}"#,
    );
    check(
        "Config { password: Some(\"hun ter\"), user: \"app\" }",
        "Config { password:***, user: \"app\" }",
    );
    check(
        "tokens: {\"access_token\": [\"a b\", \"c\"], \"n\": 1}",
        "tokens: {\"access_token:***, \"n\": 1}",
    );
    check(
        "password => 'x', user => 'app'",
        "password=***, user => 'app'",
    );
    check(
        "mysqldump --password hunter2 --host db",
        "mysqldump --password *** --host db",
    );
    check("--api-token=abc x", "--api-token=*** x");
    check(
        "ALTER ROLE app PASSWORD 'hun ter'; x",
        "ALTER ROLE app PASSWORD ***; x",
    );
    check(
        "CREATE USER app IDENTIFIED BY 'x'",
        "CREATE USER app IDENTIFIED BY ***",
    );
    check(
        "x-amz-security-token=abc&X-Amz-Signature=def&a=b",
        "x-amz-security-token=***&X-Amz-Signature=***&a=b",
    );
    check("\"signature\": \"abc\"", "\"signature:***");
    check("session=abc; sid=def", "session=***; sid=***");
}

#[test]
fn forms_of_urls_without_a_scheme_lose_theirs_too() {
    check(
        "dial app:hunter2@tcp(db:3306)/shop",
        "dial ***@tcp(db:3306)/shop",
    );
    check("app:hun:t@r2@db:5432/shop", "***@db:5432/shop");
    check(
        "at http://h/p;jsessionid=abc?x=1;y=2 now",
        "at http://h/p;*** now",
    );
    check(
        "GET /orders?access=abc&x=1 gave 500",
        "GET /orders?*** gave 500",
    );
    check("\"/cb?code=abc\" failed", "\"/cb?***\" failed");
}

#[test]
fn what_an_operator_needs_stays() {
    for text in [
        "connection refused (os error 111)",
        "see http://h:8080/x, or (http://h:80).",
        "http://[::1]:80/ and a@b",
        "too many connections for role \"app\"",
        "password authentication failed for user \"app\" (28P01)",
        "Role 'app_readwrite_2' does not exist",
        "Access denied for user 'app'@'10.0.0.1' (using password: YES)",
        "the user \"app",
        "a user said 'no'",
        "database \"shop\" does not exist",
        "duplicate key value violates unique constraint \"orders_pkey\"",
        "Key (id)=(5) already exists.",
        "time: 10:00 took=3",
        "NOAUTH Authentication required.",
        "WRONGPASS invalid username-password pair or user is disabled.",
        "bearer authentication is not supported; basic authentication is",
        "session: closed by the server",
        "invalid signature: wrong length",
        "query_wait_timeout (08P01)",
        "READONLY You can't write against a read only replica.",
        "connect to 10.0.0.1:5432 failed: timed out",
        "shop.internal:5432, user=app database=shop",
        "git@github.com:org/repo and image@sha256:abc",
        "is it /tmp/x? no",
        "unreachable: error trying to connect: tcp connect error",
        "remaining connection slots are reserved for roles with the SUPERUSER attribute",
        "the certificate expired 3 days ago: CN=db.internal",
    ] {
        keep(text);
    }
}

#[test]
fn a_user_that_is_a_token_leaves() {
    check(
        "no such user \"ghp_0123456789abcdefABCD\"",
        "no such user \"***\"",
    );
    check(
        "role 'a81bc81bdead4e5dabff90865d1e13b1' is unknown",
        "role '***' is unknown",
    );
}

#[test]
fn a_secret_that_does_not_end_is_hidden_to_the_end() {
    check("password='hunter2 and more", "password=***");
    check("password=Some(\"hunter2", "password=***");
    check("-----BEGIN PRIVATE KEY-----\nMIIabc", "***");
}

#[test]
fn long_text_is_cut_at_a_character() {
    let cut = redact(&"é".repeat(600)).into_owned();
    assert!(cut.len() <= MESSAGE_LEN_MAX && cut.ends_with('…'));
}

/// Every way to write a pair that is known here, with `§` for the secret.
const FORMS: [&str; 22] = [
    "password=§",
    "password: §",
    "password = '§'",
    "PWD={§};x",
    "AccountKey=§;EndpointSuffix=x",
    "{\"client_secret\":\"§\"}",
    "{\\\"token\\\":\\\"§\\\"}",
    "Secret { api_key: Some(\"§\") }",
    "x-api-key: §",
    "--access-token §",
    "--access-token=§",
    "PASSWORD '§'",
    "IDENTIFIED BY '§'",
    "Authorization: Bearer §",
    "authorization: Basic §",
    "Cookie: sid=§; a=b",
    "Credential=§, SignedHeaders=host",
    "X-Amz-Signature=§&a=b",
    "GET /x?access=§&y=1 failed",
    "http://h/x?access=§",
    "mysql://app:§@h/x",
    "app:§@tcp(h:1)/x",
];

fn form(at: usize, secret: &str) -> String {
    FORMS[at].replace('§', secret)
}

proptest! {
    #[test]
    fn no_password_survives_in_a_url(
        before in "[ -~]{0,20}",
        user in "[a-z]{1,8}",
        password in "[A-Z0-9/?#:!$%{}|<>\"'`]{6,20}",
        host in "[a-z]{1,10}",
    ) {
        let text = format!("{before} postgres://{user}:{password}@{host}/db");
        let shown = redact(&text);
        prop_assert!(!shown.contains(&format!(":{password}@")), "{shown}");
    }

    #[test]
    fn no_secret_survives_in_any_form(
        before in "([a-z]{1,9}[ ,(\"]){0,4}",
        at in 0..FORMS.len(),
        secret in "[A-Za-z0-9][A-Za-z0-9+/_.~-]{7,39}",
        after in "[ ,;)a-z]{0,20}",
    ) {
        let text = format!("{before}{}{after}", form(at, &secret));
        let shown = redact(&text);
        prop_assert!(!shown.contains(&secret), "{text}: {shown}");
    }

    #[test]
    fn what_was_redacted_stays_as_it_is(
        before in "([a-z]{1,9}[ ,(\"]){0,4}",
        at in 0..FORMS.len(),
        secret in "[A-Za-z0-9][A-Za-z0-9+/_.~-]{7,39}",
        after in "([ ,;)\n][a-z]{1,8}){0,4}",
    ) {
        let text = format!("{before}{}{after}", form(at, &secret));
        let once = redact(&text).into_owned();
        prop_assert_eq!(&*redact(&once), &*once);
    }

    #[test]
    fn any_text_is_taken_and_bounded(text in "\\PC{0,700}") {
        prop_assert!(redact(&text).len() <= MESSAGE_LEN_MAX);
    }
}
