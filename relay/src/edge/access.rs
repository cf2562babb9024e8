//! Who may call a service: everybody if it is public, else the bearer of an
//! API key whose scope covers it.

use ginnel_proto::code::Code;
use ginnel_proto::control::{Access, Service};
use ginnel_proto::id::DeviceId;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use super::answer::Refusal;
use crate::registry::api_key::ApiKey;
use crate::registry::key_ring::KeyRing;

/// Where a key may stand. `x-ginnel-key` leaves the others to the service.
const X_GINNEL_KEY: HeaderName = HeaderName::from_static("x-ginnel-key");
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// What every key begins with.
const PREFIX: &[u8] = b"gnl_";

/// Takes the caller's API key out of the headers, so that it never reaches a
/// service, valid or not. Other credentials stay.
#[must_use]
pub fn take_key(headers: &mut HeaderMap) -> Option<HeaderValue> {
    let mut found = None;
    for name in [X_GINNEL_KEY, AUTHORIZATION, X_API_KEY] {
        let is_ours = |value: &HeaderValue| secret(value).starts_with(PREFIX);
        if !headers.get_all(&name).iter().any(is_ours) {
            continue;
        }
        if let http::header::Entry::Occupied(entry) = headers.entry(name.clone()) {
            let (_, values) = entry.remove_entry_mult();
            let (ours, others): (Vec<_>, Vec<_>) = values.partition(is_ours);
            for value in others {
                headers.append(name.clone(), value);
            }
            found = found.or_else(|| ours.into_iter().next());
        }
    }
    found
}

/// Checks that a caller with this key may call the service. Returns the key's
/// id if one was needed.
///
/// # Errors
/// [`Code::Unauthorized`] without a valid key, [`Code::Denied`] with one that
/// does not cover the service.
pub fn check<'a>(
    keys: &'a KeyRing,
    key: Option<&HeaderValue>,
    device: &DeviceId,
    service: &Service,
    now_ms: i64,
) -> Result<Option<&'a str>, Refusal> {
    match service.access {
        Access::Public => return Ok(None),
        Access::Private => {}
    }
    let place = format!("{}/{}", device.device, service.name);
    let Some(key) = key else {
        return Err(Refusal::new(
            Code::Unauthorized,
            format!(
                "this service is private and needs an API key, service={place}\n\
                 hint: send it as Authorization: Bearer gnl_… or as x-ginnel-key; \
                 its owner makes one with: ginnel-relay key create --scope forward:{place}"
            ),
        ));
    };
    let text = std::str::from_utf8(secret(key)).unwrap_or_default();
    let key =
        ApiKey::parse(text).map_err(|error| Refusal::new(Code::Unauthorized, error.to_string()))?;
    let entry = keys
        .check(&key, now_ms)
        .map_err(|error| Refusal::new(Code::Unauthorized, error.to_string()))?;
    if entry.user != device.user || !entry.allows(&device.device, &service.name) {
        return Err(Refusal::new(
            Code::Denied,
            format!("the API key does not cover this service, service={place}"),
        ));
    }
    Ok(Some(&entry.id))
}

/// The value without `Bearer `.
fn secret(value: &HeaderValue) -> &[u8] {
    let bytes = value.as_bytes();
    match bytes.split_at_checked(7) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(b"bearer ") => rest.trim_ascii(),
        _ => bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn our_keys_are_taken_and_others_left() {
        let mut both = headers(&[
            ("authorization", "Bearer of-the-service"),
            ("x-ginnel-key", "gnl_live_1"),
        ]);
        assert_eq!(take_key(&mut both).expect("found"), "gnl_live_1");
        assert_eq!(both, headers(&[("authorization", "Bearer of-the-service")]));

        let mut every = headers(&[
            ("authorization", "bearer gnl_live_2"),
            ("authorization", "Basic x"),
            ("x-api-key", "gnl_test_3"),
            ("x-api-key", "sk-other"),
        ]);
        assert_eq!(take_key(&mut every).expect("found"), "bearer gnl_live_2");
        assert_eq!(
            every,
            headers(&[("authorization", "Basic x"), ("x-api-key", "sk-other")])
        );

        let mut none = headers(&[("authorization", "Bearer sk-1")]);
        assert_eq!(take_key(&mut none), None);
        assert_eq!(none.len(), 1);
    }
}
