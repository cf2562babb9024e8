//! The local API's paths.

use ginnel_proto::id::{DeviceName, InvalidName, ServiceName, UpstreamName};
use http::{HeaderValue, Method, Response, StatusCode, header};

use super::answer::{ApiBody, Problem};
use super::knowledge::{KnowledgeRoute, NoKnowledgeRoute};

/// What a path and method ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    Health,
    Status,
    ListServices,
    ShowService(ServiceName),
    Share(ServiceName),
    Unshare(ServiceName),
    Stop,
    Knowledge(KnowledgeRoute),
    Forward(Forward),
}

/// A request that goes on through the link.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Forward {
    /// `/upstream/NAME/…`: to a cloud API. The rest of the path, from its `/`
    /// on and still encoded, is the upstream's.
    Upstream {
        /// The upstream.
        name: UpstreamName,
        /// The path on it; the query stays in the request's URI.
        path: String,
    },
    /// `/v1/tcp/DEVICE/SERVICE` or `/v1/tcp/SERVICE`: bytes to another
    /// device's service.
    Tcp {
        /// The other device; whichever shares the service if `None`.
        device: Option<DeviceName>,
        /// Its service.
        service: ServiceName,
    },
}

/// Why a request has no route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoRoute {
    Unknown,
    BadName(InvalidName),
    BadId(String),
    /// The methods that the path has.
    BadMethod(&'static str),
}

impl Route {
    pub(super) fn find(method: &Method, path: &str) -> Result<Self, NoRoute> {
        let rest = path.strip_prefix('/').ok_or(NoRoute::Unknown)?;
        if let Some(rest) = rest.strip_prefix("upstream/") {
            let (name, tail) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let name = UpstreamName::parse(name).map_err(NoRoute::BadName)?;
            let path = if tail.is_empty() { "/" } else { tail }.to_owned();
            return Ok(Self::Forward(Forward::Upstream { name, path }));
        }
        let parts: Vec<&str> = rest.splitn(5, '/').collect();
        let get = || only(method, &Method::GET, "GET");
        let post = || only(method, &Method::POST, "POST");
        match parts.as_slice() {
            ["health"] => get().map(|()| Self::Health),
            ["v1", "status"] => get().map(|()| Self::Status),
            ["v1", "services"] => get().map(|()| Self::ListServices),
            ["v1", "services", name] => Self::service(method, name),
            ["v1", "stop"] => post().map(|()| Self::Stop),
            ["v1", "tcp", device, service] => {
                get()?;
                let device = DeviceName::parse(device).map_err(NoRoute::BadName)?;
                Self::tcp(Some(device), service)
            }
            ["v1", "tcp", service] => {
                get()?;
                Self::tcp(None, service)
            }
            ["v1", rest @ ..] => KnowledgeRoute::find(method, rest)
                .map(Self::Knowledge)
                .map_err(NoRoute::from),
            _ => Err(NoRoute::Unknown),
        }
    }

    fn tcp(device: Option<DeviceName>, service: &str) -> Result<Self, NoRoute> {
        let service = ServiceName::parse(service).map_err(NoRoute::BadName)?;
        Ok(Self::Forward(Forward::Tcp { device, service }))
    }

    fn service(method: &Method, name: &str) -> Result<Self, NoRoute> {
        let name = ServiceName::parse(name).map_err(NoRoute::BadName)?;
        match *method {
            Method::GET => Ok(Self::ShowService(name)),
            Method::PUT => Ok(Self::Share(name)),
            Method::DELETE => Ok(Self::Unshare(name)),
            _ => Err(NoRoute::BadMethod("GET, PUT, DELETE")),
        }
    }
}

impl NoRoute {
    pub(super) fn into_response(self) -> Response<ApiBody> {
        match self {
            Self::Unknown => Problem::new(StatusCode::NOT_FOUND, "not_found", "no such path")
                .hint("ginnel's local API is /health, /v1/… and /upstream/NAME/…")
                .into_response(),
            Self::BadName(error) => {
                Problem::new(StatusCode::BAD_REQUEST, "invalid_name", error.to_string())
                    .into_response()
            }
            Self::BadId(message) => {
                Problem::new(StatusCode::BAD_REQUEST, "invalid_id", message).into_response()
            }
            Self::BadMethod(allowed) => {
                let message = format!("the path allows only {allowed}");
                let status = StatusCode::METHOD_NOT_ALLOWED;
                let mut response = Problem::new(status, "bad_method", message).into_response();
                let allowed = HeaderValue::from_static(allowed);
                response.headers_mut().insert(header::ALLOW, allowed);
                response
            }
        }
    }
}

impl From<NoKnowledgeRoute> for NoRoute {
    fn from(no_route: NoKnowledgeRoute) -> Self {
        match no_route {
            NoKnowledgeRoute::Unknown => Self::Unknown,
            NoKnowledgeRoute::BadMethod(allowed) => Self::BadMethod(allowed),
            NoKnowledgeRoute::BadId(message) => Self::BadId(message),
        }
    }
}

fn only(method: &Method, allowed: &Method, name: &'static str) -> Result<(), NoRoute> {
    if method == allowed {
        return Ok(());
    }
    Err(NoRoute::BadMethod(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_routes() {
        let web: ServiceName = "web".parse().expect("valid");
        for (method, path, route) in [
            (Method::GET, "/health", Route::Health),
            (Method::GET, "/v1/status", Route::Status),
            (Method::GET, "/v1/services", Route::ListServices),
            (
                Method::GET,
                "/v1/services/web",
                Route::ShowService(web.clone()),
            ),
            (Method::PUT, "/v1/services/web", Route::Share(web.clone())),
            (Method::DELETE, "/v1/services/web", Route::Unshare(web)),
            (Method::POST, "/v1/stop", Route::Stop),
            (Method::GET, "/v1/tcp/box/db", tcp(Some("box"), "db")),
            (Method::GET, "/v1/tcp/db", tcp(None, "db")),
            (
                Method::POST,
                "/upstream/ai/v1/chat//x%2F",
                upstream("ai", "/v1/chat//x%2F"),
            ),
            (Method::PATCH, "/upstream/ai", upstream("ai", "/")),
            (Method::GET, "/upstream/ai/", upstream("ai", "/")),
        ] {
            assert_eq!(Route::find(&method, path), Ok(route), "{method} {path}");
        }
    }

    #[test]
    fn everything_else_leads_nowhere() {
        for path in [
            "",
            "/",
            "*",
            "/v1",
            "/v1/",
            "/health/",
            "//health",
            "/v1/tcp",
            "/v1/tcp/a/b/c",
            "/v1/services/a/b",
            "/upstream",
        ] {
            assert_eq!(
                Route::find(&Method::GET, path),
                Err(NoRoute::Unknown),
                "{path}"
            );
        }
        for path in [
            "/v1/services/",
            "/v1/services/A",
            "/upstream/",
            "/upstream/..",
            "/v1/tcp//b",
        ] {
            let found = Route::find(&Method::GET, path);
            assert!(
                matches!(found, Err(NoRoute::BadName(_))),
                "{path}: {found:?}"
            );
        }
        for (method, path) in [
            (Method::POST, "/health"),
            (Method::GET, "/v1/stop"),
            (Method::POST, "/v1/services"),
            (Method::POST, "/v1/services/web"),
            (Method::POST, "/v1/tcp/a/b"),
        ] {
            let found = Route::find(&method, path);
            assert!(
                matches!(found, Err(NoRoute::BadMethod(_))),
                "{path}: {found:?}"
            );
        }
    }

    fn tcp(device: Option<&str>, service: &str) -> Route {
        Route::Forward(Forward::Tcp {
            device: device.map(|device| device.parse().expect("valid")),
            service: service.parse().expect("valid"),
        })
    }

    fn upstream(name: &str, path: &str) -> Route {
        Route::Forward(Forward::Upstream {
            name: name.parse().expect("valid"),
            path: path.to_owned(),
        })
    }
}
