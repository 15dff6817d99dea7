//! The control messages of a WebSocket connection: text in, request or refusal out.
//!
//! Refusals have the form that the venue sends today, `{"error":{"code":2,"msg":"…"},"id":1}`.

use serde_json::{Value, json};

/// What a client asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Request {
    /// Sent back as it came: a number, a short string or null.
    pub(crate) id: Value,
    pub(crate) method: Method,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Method {
    Subscribe(Vec<String>),
    Unsubscribe(Vec<String>),
    ListSubscriptions,
    SetCombined(bool),
    GetCombined,
}

const METHODS: &str =
    "`SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY`";

/// `{"method":"SUBSCRIBE","params":["ethusdt@depth@100ms"],"id":1}`; the error is the answer to send.
pub(crate) fn parse(text: &str) -> Result<Request, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| {
        let msg = format!(
            "Invalid JSON: expected value at line {} column {}",
            error.line(),
            error.column()
        );
        refusal(3, &msg, &Value::Null)
    })?;
    let id = match value.get("id") {
        Some(id) if is_valid_id(id) => id.clone(),
        _ => {
            return Err(refusal(
                2,
                "Invalid request: request ID must be an unsigned integer",
                &Value::Null,
            ));
        }
    };
    let refuse = |code, msg: &str| Err(refusal(code, msg, &id));
    let Some(method) = value.get("method") else {
        let column = text.trim_end().len();
        return refuse(
            2,
            &format!("Invalid request: missing field `method` at line 1 column {column}"),
        );
    };
    let params = value.get("params").and_then(Value::as_array).map(Vec::as_slice);
    let method = match method.as_str().unwrap_or_default() {
        "SUBSCRIBE" | "UNSUBSCRIBE" if params.is_none() => {
            return refuse(2, "Invalid request: missing field `params` at line 1 column 1");
        }
        "SUBSCRIBE" => streams_of(params).map(Method::Subscribe),
        "UNSUBSCRIBE" => streams_of(params).map(Method::Unsubscribe),
        "LIST_SUBSCRIPTIONS" => Ok(Method::ListSubscriptions),
        "SET_PROPERTY" => match params {
            Some([Value::String(name), value]) if name == "combined" => value
                .as_bool()
                .map(Method::SetCombined)
                .ok_or((1, "Invalid value type: expected Boolean")),
            Some([Value::String(_), _]) => Err((0, "Unknown property")),
            Some([_, _, _, ..]) => Err((2, "Invalid request: too many parameters")),
            _ => Err((2, "Invalid request: property name must be a string")),
        },
        "GET_PROPERTY" => match params {
            Some([Value::String(name)]) if name == "combined" => Ok(Method::GetCombined),
            Some([Value::String(_)]) => Err((0, "Unknown property")),
            Some([_, _, ..]) => Err((2, "Invalid request: too many parameters")),
            _ => Err((2, "Invalid request: property name must be a string")),
        },
        other => {
            let msg = format!(
                "Invalid request: unknown variant `{other}`, expected one of {METHODS} at line 1 column 28"
            );
            return refuse(2, &msg);
        }
    };
    match method {
        Ok(method) => Ok(Request { id, method }),
        Err((code, msg)) => refuse(code, msg),
    }
}

pub(crate) fn answer(result: Value, id: &Value) -> String {
    format!(r#"{{"result":{result},"id":{id}}}"#)
}

pub(crate) fn refusal(code: i32, msg: &str, id: &Value) -> String {
    format!(r#"{{"error":{},"id":{id}}}"#, json!({ "code": code, "msg": msg }))
}

fn is_valid_id(id: &Value) -> bool {
    match id {
        Value::Null => true,
        Value::Number(number) => number.is_i64(),
        Value::String(text) => text.len() <= 36,
        _ => false,
    }
}

/// A stream without a market is accepted and stays silent, as at the venue; only what is no stream name is refused.
fn streams_of(params: Option<&[Value]>) -> Result<Vec<String>, (i32, &'static str)> {
    let is_stream = |name: &&str| name.contains('@') || name.starts_with('!');
    params
        .unwrap_or_default()
        .iter()
        .map(|name| {
            name.as_str()
                .filter(is_stream)
                .map(str::to_owned)
                .ok_or((2, "Invalid request: invalid stream"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Method, Request, parse};

    #[test]
    fn requests_are_understood() {
        let streams = || vec!["a@trade".to_owned(), "b@depth".to_owned()];
        for (text, id, method) in [
            (
                r#"{"method":"SUBSCRIBE","params":["a@trade","b@depth"],"id":1}"#,
                json!(1),
                Method::Subscribe(streams()),
            ),
            (
                r#"{"id":"x9","method":"UNSUBSCRIBE","params":["a@trade","b@depth"]}"#,
                json!("x9"),
                Method::Unsubscribe(streams()),
            ),
            (r#"{"method":"LIST_SUBSCRIPTIONS","id":-3}"#, json!(-3), Method::ListSubscriptions),
            (
                r#"{"method":"SET_PROPERTY","params":["combined",true],"id":null}"#,
                json!(null),
                Method::SetCombined(true),
            ),
            (
                r#"{"method":"GET_PROPERTY","params":["combined"],"id":2}"#,
                json!(2),
                Method::GetCombined,
            ),
        ] {
            assert_eq!(parse(text), Ok(Request { id, method }), "{text}");
        }
    }

    #[test]
    fn refusals_are_the_venues() {
        for (text, expected) in [
            (
                "x",
                r#"{"error":{"code":3,"msg":"Invalid JSON: expected value at line 1 column 1"},"id":null}"#,
            ),
            (
                r#"{"method":"SUBSCRIBE","params":["nothing"],"id":1}"#,
                r#"{"error":{"code":2,"msg":"Invalid request: invalid stream"},"id":1}"#,
            ),
            (
                r#"{"method":"SET_PROPERTY","params":["combined",1],"id":1}"#,
                r#"{"error":{"code":1,"msg":"Invalid value type: expected Boolean"},"id":1}"#,
            ),
            (
                r#"{"method":"GET_PROPERTY","params":["x"],"id":1}"#,
                r#"{"error":{"code":0,"msg":"Unknown property"},"id":1}"#,
            ),
            (
                r#"{"method":"SUBSCRIBE","params":["a@trade"]}"#,
                r#"{"error":{"code":2,"msg":"Invalid request: request ID must be an unsigned integer"},"id":null}"#,
            ),
        ] {
            assert_eq!(parse(text).unwrap_err(), expected);
        }
        assert!(
            parse(r#"{"method":"JUMP","id":1}"#)
                .unwrap_err()
                .contains("unknown variant `JUMP`, expected one of `SUBSCRIBE`")
        );
    }
}
