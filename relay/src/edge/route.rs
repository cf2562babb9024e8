//! Which device and service a request is for: by host or by path.
//!
//! * `SERVICE.DEVICE.DOMAIN`
//! * `SERVICE.localhost`, in development, while one device shares it
//! * any other host, path `/t/DEVICE/SERVICE/…`, which becomes `/…`

use ginnel_proto::code::Code;
use ginnel_proto::id::{DeviceName, Domain, ServiceName};
use http::uri::{Authority, PathAndQuery};

use super::answer::Refusal;

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The device, or `None` for whichever shares the service.
    pub device: Option<DeviceName>,
    /// The service.
    pub service: ServiceName,
    /// The path and query that the service sees.
    pub path: PathAndQuery,
    /// What was taken off the path's front.
    pub prefix: Option<String>,
}

/// Finds the route of a request to `host` and `path`.
///
/// # Errors
/// [`Code::NoRoute`] when neither names a device and service.
pub fn route(
    domain: &Domain,
    host: Option<&Authority>,
    path: &PathAndQuery,
) -> Result<Route, Refusal> {
    let by_host = host.and_then(|host| labels(domain, host.host()));
    match by_host.as_deref() {
        Some([service, device]) => {
            let (Ok(service), Ok(device)) =
                (ServiceName::parse(service), DeviceName::parse(device))
            else {
                return Err(no_route(host));
            };
            Ok(Route {
                device: Some(device),
                service,
                path: path.clone(),
                prefix: None,
            })
        }
        Some([service]) if domain.as_str() == "localhost" => {
            let service = ServiceName::parse(service).map_err(|_| no_route(host))?;
            Ok(Route {
                device: None,
                service,
                path: path.clone(),
                prefix: None,
            })
        }
        Some([_, ..]) => Err(no_route(host)),
        Some([]) | None => by_path(path).ok_or_else(|| no_route(host)),
    }
}

/// The labels of `host` in front of `domain`, in lower case: none if it is
/// the domain itself, `None` if it is another.
fn labels(domain: &Domain, host: &str) -> Option<Vec<String>> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let front = host.strip_suffix(domain.as_str())?;
    if front.is_empty() {
        return Some(Vec::new());
    }
    let front = front.strip_suffix('.')?;
    Some(front.split('.').map(str::to_owned).collect())
}

/// `/t/DEVICE/SERVICE/rest?query` becomes `/rest?query`.
fn by_path(path: &PathAndQuery) -> Option<Route> {
    let text = path.as_str();
    let mut parts = text.strip_prefix("/t/")?.splitn(2, '/');
    let device = DeviceName::parse(parts.next()?).ok()?;
    let rest = parts.next()?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (service, rest) = rest.split_at(end);
    let service = ServiceName::parse(service).ok()?;
    let path = match rest.as_bytes().first() {
        Some(b'/') => rest.to_owned(),
        _ => format!("/{rest}"),
    };
    Some(Route {
        prefix: Some(format!("/t/{device}/{service}")),
        path: PathAndQuery::try_from(path).ok()?,
        device: Some(device),
        service,
    })
}

fn no_route(host: Option<&Authority>) -> Refusal {
    let host = host.map_or("", |host| host.as_str());
    Refusal::new(
        Code::NoRoute,
        format!(
            "no service at this address, host={host:?}\n\
             hint: services live at SERVICE.DEVICE.DOMAIN or under /t/DEVICE/SERVICE/"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(domain: &str, host: &str, path: &str) -> Option<(String, String, String)> {
        let domain = Domain::parse(domain).expect("valid");
        let host = Authority::try_from(host).expect("valid");
        let path = PathAndQuery::try_from(path).expect("valid");
        let route = route(&domain, Some(&host), &path).ok()?;
        let device = route
            .device
            .map_or_else(|| "*".into(), |name| name.to_string());
        Some((device, route.service.to_string(), route.path.to_string()))
    }

    fn is(device: &str, service: &str, path: &str) -> Option<(String, String, String)> {
        Some((device.into(), service.into(), path.into()))
    }

    #[test]
    fn by_host() {
        let relay = "relay.example.com";
        assert_eq!(
            find(relay, "web.laptop.relay.example.com", "/a?b"),
            is("laptop", "web", "/a?b")
        );
        assert_eq!(
            find(relay, "WEB.Laptop.Relay.example.com.:443", "/"),
            is("laptop", "web", "/")
        );
        assert_eq!(find(relay, "web.relay.example.com", "/"), None);
        assert_eq!(find(relay, "a.web.laptop.relay.example.com", "/"), None);
        assert_eq!(find(relay, "web.laptop.evil-relay.example.com", "/"), None);
        assert_eq!(find(relay, "web_1.laptop.relay.example.com", "/"), None);
    }

    #[test]
    fn a_service_alone_is_enough_in_development() {
        assert_eq!(
            find("localhost", "web.localhost:7480", "/"),
            is("*", "web", "/")
        );
        assert_eq!(
            find("localhost", "web.laptop.localhost:7480", "/"),
            is("laptop", "web", "/")
        );
        assert_eq!(find("localhost", "notlocalhost", "/"), None);
    }

    #[test]
    fn by_path() {
        for host in ["localhost:7480", "127.0.0.1:7480", "elsewhere.example"] {
            assert_eq!(
                find("localhost", host, "/t/laptop/web/a/b?c=/d"),
                is("laptop", "web", "/a/b?c=/d")
            );
            assert_eq!(
                find("localhost", host, "/t/laptop/web"),
                is("laptop", "web", "/")
            );
            assert_eq!(
                find("localhost", host, "/t/laptop/web?x"),
                is("laptop", "web", "/?x")
            );
            assert_eq!(find("localhost", host, "/t/laptop"), None);
            assert_eq!(find("localhost", host, "/t//web/"), None);
            assert_eq!(find("localhost", host, "/"), None);
        }
        // A host that names a service is never read by path.
        assert_eq!(
            find("localhost", "web.localhost", "/t/other/admin/"),
            is("*", "web", "/t/other/admin/")
        );
    }
}
