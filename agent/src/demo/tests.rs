use super::*;
use http_body_util::Empty;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::Instant;

#[tokio::test]
async fn the_page_and_its_parts_come_from_here_only() {
    let (head, page) = get("/").await;
    assert_eq!(head.status, StatusCode::OK);
    let policy = head
        .headers
        .get("content-security-policy")
        .expect("a policy");
    assert!(
        policy
            .to_str()
            .expect("text")
            .starts_with("default-src 'none'")
    );
    assert!(
        !page.contains("http:") && !page.contains("https:"),
        "{page}"
    );
    assert!(
        !page.contains("<style") && !page.contains("style="),
        "{page}"
    );
    for part in ["demo.css", "demo.js"] {
        assert!(page.contains(part));
        let (head, _) = get(&format!("/{part}")).await;
        assert_eq!(head.status, StatusCode::OK, "{part}");
        assert_eq!(head.headers["x-content-type-options"], "nosniff");
    }
}

#[tokio::test]
async fn echo_streams_the_body_back() {
    let (near, far) = tokio::io::duplex(1024);
    let (near, ()) = tokio::join!(converse(near), serve_connection(far));
    drop(near);

    async fn converse(mut near: DuplexStream) -> DuplexStream {
        let head = "POST /echo/x?q=1 HTTP/1.1\r\nhost: a\r\nX-One: 1\r\nx-one: 2\r\n\
                    transfer-encoding: chunked\r\n\r\n";
        near.write_all(head.as_bytes()).await.expect("sent");
        let shown = read_until(&mut near, "transfer-encoding: chunked\n\n").await;
        assert!(shown.contains("POST /echo/x?q=1 HTTP/1.1\n"), "{shown}");
        assert!(shown.contains("x-one: 1\nx-one: 2\n"), "{shown}");
        // Each piece comes back before the next one is sent.
        for piece in ["one", "two"] {
            let chunk = format!("3\r\n{piece}\r\n");
            near.write_all(chunk.as_bytes()).await.expect("sent");
            read_until(&mut near, piece).await;
        }
        near.write_all(b"0\r\n\r\n").await.expect("sent");
        read_until(&mut near, "0\r\n\r\n").await;
        near.shutdown().await.expect("closed");
        near
    }
}

#[tokio::test]
async fn upload_counts() {
    let body = Full::new(Bytes::from(vec![7; 100_000]));
    let request = Request::post("/upload").body(body).expect("a request");
    let body = answer(request).await.into_body().collect().await;
    assert_eq!(body.expect("whole").to_bytes(), r#"{"bytes":100000}"#);
}

#[tokio::test(start_paused = true)]
async fn slow_waits() {
    let start = Instant::now();
    let (head, _) = get("/slow/1500").await;
    assert_eq!(head.status, StatusCode::OK);
    assert_eq!(start.elapsed(), Duration::from_millis(1_500));
}

#[tokio::test]
async fn limits_and_unknown_paths_are_told() {
    for (path, status) in [
        ("/bytes/17179869184", 200),
        ("/bytes/17179869185", 400),
        ("/bytes/-1", 400),
        ("/bytes/x", 400),
        ("/bytes/", 400),
        ("/slow/600001", 400),
        ("/slow/99999999999999999999", 400),
        ("/bytes", 404),
        ("/ws", 426),
        ("/nothing", 404),
        ("/stream/x", 404),
    ] {
        let response = answer(request(path)).await;
        assert_eq!(response.status(), status, "{path}");
    }
}

#[tokio::test]
async fn a_websocket_opens_and_echoes() {
    let (near, far) = tokio::io::duplex(1024);
    let ((), ()) = tokio::join!(converse(near), serve_connection(far));

    async fn converse(mut near: DuplexStream) {
        let head = "GET /ws HTTP/1.1\r\nhost: a\r\nConnection: keep-alive, Upgrade\r\n\
                    Upgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        near.write_all(head.as_bytes()).await.expect("sent");
        let answer = read_until(&mut near, "\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
        near.write_all(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i'])
            .await
            .expect("sent");
        let mut back = [0; 4];
        near.read_exact(&mut back).await.expect("echoed");
        assert_eq!(&back, b"\x81\x02hi");
    }
}

async fn get(path: &str) -> (http::response::Parts, String) {
    let (head, body) = answer(request(path)).await.into_parts();
    let body = body.collect().await.expect("whole").to_bytes();
    (head, String::from_utf8(body.into()).expect("text"))
}

fn request(path: &str) -> Request<Empty<Bytes>> {
    Request::get(path).body(Empty::new()).expect("a request")
}

async fn read_until(near: &mut DuplexStream, end: &str) -> String {
    let mut text = String::new();
    while !text.contains(end) {
        let byte = near.read_u8().await.expect("more");
        text.push(byte.into());
    }
    text
}
