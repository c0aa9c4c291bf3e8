//! No secret in any view, whatever its spelling; the service still knows its token.

use super::*;

const SECRET: &str = "s3cr3t-value";

#[test]
fn no_view_shows_a_secret_wherever_it_stands() {
    let cases = [
        ("token", json!(SECRET)),
        ("credential", json!({"token": SECRET})),
        ("credential.token", json!(SECRET)),
        ("dockerAuth", json!(SECRET)),
        ("labels", json!({"deep": [{"my_password": SECRET}]})),
        (
            "containers",
            json!([{"env": [{"name": "AUTHORIZATION", "value": SECRET}]}]),
        ),
        (
            "containers",
            json!([{"env": [{"value": SECRET, "name": "HF_TOKEN"}]}]),
        ),
        (
            "containers",
            json!([{"script": format!("./webui.sh --api-auth {SECRET} --api")}]),
        ),
        (
            "containers",
            json!([{"script": format!("./webui.sh --api-auth={SECRET}")}]),
        ),
        (
            "containers",
            json!([{"command": format!("TOKEN={SECRET} python app.py")}]),
        ),
    ];
    for (member, value) in cases {
        let mut document = sample("Async");
        document[member] = value;
        let service = loaded(&document);
        let shown = format!(
            "{}{service:?}",
            serde_json::to_string(&service.view()).unwrap()
        );
        assert!(!shown.contains(SECRET), "{document}: {shown}");
        assert!(shown.contains("***"), "{document}: {shown}");
    }
}

#[test]
fn no_refusal_shows_a_secret() {
    let odd = format!("{SECRET} with spaces");
    for token in [json!(odd), json!([SECRET]), json!({"value": SECRET})] {
        let (field, reason) = refused(&with("Async", "token", token));
        assert_eq!(field, "token");
        assert!(!reason.contains(SECRET), "{reason}");
    }
}

#[test]
fn the_token_reaches_the_service_from_both_of_its_places() {
    for path in ["token", "credential/token"] {
        let service = loaded(&with("Async", path, json!(SECRET)));
        assert_eq!(service.spec.token.unwrap().expose(), SECRET, "{path}");
    }
    assert_eq!(loaded(&with("Async", "token", json!(""))).spec.token, None);
    assert_eq!(loaded(&sample("Async")).spec.token, None);
}

#[test]
fn of_two_tokens_the_documented_place_wins() {
    let mut document = with("Async", "credential/token", json!("other"));
    document["token"] = json!(SECRET);
    let service = loaded(&document);
    assert_reported(&service, "credential.token");
    assert_eq!(service.spec.token.unwrap().expose(), SECRET);
}

#[test]
fn a_start_line_keeps_everything_but_its_secrets() {
    let line = "cd /x \\\n  && ./webui.sh  --api-auth user:word --port 8000";
    let service = loaded(&with("Async", "containers", json!([{"script": line}])));
    assert_eq!(
        service.given["containers"][0]["script"],
        "cd /x \\\n  && ./webui.sh  --api-auth *** --port 8000"
    );
}
