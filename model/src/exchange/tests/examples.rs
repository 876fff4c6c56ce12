//! The worked examples E1 and E4 of the transaction token profile, byte for byte: they verify for ever.

use super::*;
use crate::jws::Compact;
use crate::verify::{Expect, verify};

const SUBJECT_TOKEN: &str = "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFUzI1NiIsImtpZCI6ImlkcC0xIn0.eyJpc3MiOiJodHRwczovL2lkcC5zaG9wLmV4YW1wbGUiLCJzdWIiOiJ1LTg0MjEzIiwiYXVkIjoiaHR0cHM6Ly9ndy50ZC5leGFtcGxlIiwiY2xpZW50X2lkIjoid2ViLTciLCJzY29wZSI6Im9yZGVycy5yZWFkIG9yZGVycy53cml0ZSIsImlhdCI6MTc5NTI5ODI4MCwiZXhwIjoxNzk1Mjk5MTgwLCJqdGkiOiJhdC01ZjBjMSJ9.Tz50z_ZnYSi-8m8RYiU3H7cPtrsshhPEulYnnmusxs97K3on13siu1qPZeCOfdip2qImI0qCV9uTrSvmApTzow";
const CLIENT_ASSERTION: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiIsImtpZCI6InRkLWp3dC03In0.eyJzdWIiOiJzcGlmZmU6Ly90ZC5leGFtcGxlL2dhdGV3YXkvZXUtMSIsImF1ZCI6WyJodHRwczovL3R0cy50ZC5leGFtcGxlIl0sImlhdCI6MTc5NTI5ODM3MCwiZXhwIjoxNzk1Mjk4NjcwfQ.RdD3rkjL7DwxbHoFTiNFFXmrmt10kfzkM0B54U3zPTWQoSuE9uD1ImJfnFHO5s-VL_CkKN58S-XaCOoefGwlhw";
const TRANSACTION_TOKEN: &str = "eyJ0eXAiOiJ0eG50b2tlbitqd3QiLCJhbGciOiJFUzI1NiIsImtpZCI6InR0cy1hLTMifQ.eyJpc3MiOiJodHRwczovL3R0cy50ZC5leGFtcGxlIiwiaWF0IjoxNzk1Mjk4NDAwLCJleHAiOjE3OTUyOTg0NjAsImF1ZCI6InRkLmV4YW1wbGUiLCJ0eG4iOiIwMTk5ZjZmMC0zYjFlLTdjNTItOWE3Ny0yZjFjN2RlMGE0YjEiLCJzdWIiOiJ1LTg0MjEzIiwic2NvcGUiOiJvcmRlcnMud3JpdGUiLCJyZXFfd2wiOiJzcGlmZmU6Ly90ZC5leGFtcGxlL2dhdGV3YXkvZXUtMSIsInJjdHgiOnsicmVxX2lwIjoiMjAzLjAuMTEzLjkifSwidGN0eCI6eyJvcCI6Im9yZGVyLmNyZWF0ZSIsIm9yZGVyIjoiby03NyIsImFtb3VudCI6MTI5MDAsImNjeSI6IkVVUiJ9fQ.2YXI9EHblvlSFZYtKG_D7y7qfFRfIlomui9i-uIDihLfTLYFGfS9Lng-PfX94q2KGvE4VIFCWA5uabFvAywkYA";

type Form = Vec<(String, String)>;

fn jwk(kid: &str, x: &str, y: &str) -> Value {
    json!({ "kty": "EC", "crv": "P-256", "kid": kid, "x": x, "y": y })
}

fn idp() -> KeySet {
    let (x, y) = ("Q5C_LVXPPhLsPKPfgWHQAMdYKUb_--_eS7W8rWzI9ss", "-1bVsi0arBZF_5Zw69I84wc7zYgC3YClikikLxhDFEA");
    key_set(&[jwk("idp-1", x, y)], &[Algorithm::Es256])
}

fn bundle() -> KeySet {
    let (x, y) = ("zx0w1elKjp-0B_IOsWDCNekVyQtqDfQqEPQChTx7JeY", "Fe3QLPs1TdP4DWBqD_mvLAzdKhpU3Uf40rxdHUMF72E");
    key_set(&[jwk("td-jwt-7", x, y)], &[Algorithm::Es256])
}

fn tts() -> KeySet {
    let (x, y) = ("nnyEc6muIvg9tsW55WiUQbG9JbjBFiGDAVLvnVNx87Y", "YL34kRd5ZVlhrYIOWDQZxV2cqZvS_uHHanC2A4XfTYE");
    key_set(&[jwk("tts-a-3", x, y)], &[Algorithm::Es256])
}

fn form() -> Vec<(String, String)> {
    let mut form = parameters(SUBJECT_TOKEN);
    set(&mut form, "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe");
    set(&mut form, "client_assertion", CLIENT_ASSERTION);
    set(&mut form, "request_context", r#"{"req_ip":"203.0.113.9"}"#);
    set(&mut form, "request_details", r#"{"op":"order.create","order":"o-77","amount":12900,"ccy":"EUR"}"#);
    form
}

fn run(form: &[(String, String)], now: UnixTime) -> Result<(Request, TransactionClaims), OAuthError> {
    let world = World::new();
    let request = Request::parse(form)?;
    let caller = authenticate(&request, None, &bundle(), &world.endpoint, now)?;
    let claimed = peek(&request, &caller, &world.policy, &world.endpoint)?;
    let subject = verify_subject(&claimed, &idp(), &world.endpoint, now)?;
    let grant = decide(&world.policy, &caller, &subject, &request)?;
    let ids = TokenIds { txn: "0199f6f0-3b1e-7c52-9a77-2f1c7de0a4b1".to_owned(), jti: "j".to_owned() };
    let claims = TransactionClaims::new(&world.endpoint, &request, &caller, &subject, &grant, ids, now)?;
    Ok((request, claims))
}

#[test]
fn e1_the_gateway_gets_its_transaction_token() {
    let (request, claims) = run(&form(), NOW).unwrap();
    let token = Compact::parse(TRANSACTION_TOKEN).unwrap();
    let expect = Expect { algorithms: &[Algorithm::Es256], types: &[TRANSACTION_TOKEN_TYP], typ_may_be_absent: false };
    assert!(verify(&token, &tts(), &expect).is_ok());
    let mut expected = token.claims().clone();
    // Where we go further than the example: a jti always, and a sub that no other issuer can give (T-08).
    expected.insert("jti".to_owned(), "j".into());
    expected.insert("sub".to_owned(), "shop:u-84213".into());
    assert_eq!(serde_json::to_value(&claims).unwrap(), Value::Object(expected));
    let answer: Value = serde_json::from_slice(&response("TOKEN", &claims, &request)).unwrap();
    assert_eq!(
        answer,
        json!({
            "token_type": "N_A", "issued_token_type": "urn:ietf:params:oauth:token-type:txn_token",
            "expires_in": 60, "access_token": "TOKEN",
        })
    );
}

#[test]
fn e4_errors_are_those_of_the_profile() {
    let refused = |change: &dyn Fn(&mut Form), now| {
        let mut form = form();
        change(&mut form);
        let error = run(&form, now).unwrap_err();
        (error.status, String::from_utf8(error.body()).unwrap())
    };
    let wider = refused(&|form| set(form, "scope", "orders.admin"), NOW);
    assert_eq!(
        wider,
        (400, r#"{"error":"invalid_scope","error_description":"exceeds subject_token scope"}"#.to_owned())
    );
    let (status, body) = refused(&|form| set(form, "audience", "other.example"), NOW);
    assert!(status == 400 && body.contains(r#""error":"invalid_target""#), "{body}");
    let by_tls = |form: &mut Vec<(String, String)>| form.retain(|(name, _)| !name.starts_with("client_assertion"));
    let mut form = form();
    by_tls(&mut form);
    let world = World::new();
    let request = Request::parse(&form).unwrap();
    let claimed = peek(&request, &GATEWAY.parse().unwrap(), &world.policy, &world.endpoint).unwrap();
    let late = UnixTime::from_secs(1_795_299_180);
    let error = verify_subject(&claimed, &idp(), &world.endpoint, late).unwrap_err();
    let body = String::from_utf8(error.body()).unwrap();
    assert_eq!(body, r#"{"error":"invalid_request","error_description":"subject_token expired"}"#);
    let mut other = World::new();
    other.endpoint.token_issuer = "https://tts.td.example/token".to_owned();
    let mut with_assertion = parameters(SUBJECT_TOKEN);
    set(&mut with_assertion, "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe");
    set(&mut with_assertion, "client_assertion", CLIENT_ASSERTION);
    let request = Request::parse(&with_assertion).unwrap();
    let error = authenticate(&request, None, &bundle(), &other.endpoint, NOW).unwrap_err();
    assert_eq!((error.status, error.code, error.reason), (401, OAuthCode::InvalidClient, "assertion_aud"));
}
