//! WebSockets with a client and a server that others wrote.

use futures_util::{SinkExt as _, StreamExt as _};
use ginnel_tests::lab::Lab;
use ginnel_tests::origin::Origin;
use ginnel_tests::wait::in_time;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};

/// A service that echoes text and binary messages.
async fn echo() -> Origin {
    Origin::raw(|stream| async move {
        let Ok(mut socket) = accept_async(stream).await else {
            return;
        };
        while let Some(Ok(message)) = socket.next().await {
            let is_content = message.is_text() || message.is_binary();
            if is_content && socket.send(message).await.is_err() {
                return;
            }
        }
    })
    .await
}

async fn connect(lab: &Lab) -> WebSocketStream<TcpStream> {
    let stream = lab.caller.connect().await;
    let (socket, response) = in_time(
        "a handshake",
        client_async("ws://web.localhost/chat", stream),
    )
    .await
    .expect("opens");
    assert_eq!(response.status(), 101);
    socket
}

async fn next(socket: &mut WebSocketStream<TcpStream>) -> Message {
    let message = in_time("a message", socket.next()).await;
    message.expect("open").expect("readable")
}

#[tokio::test]
async fn messages_of_every_kind_come_back() {
    let lab = Lab::start().await;
    let origin = echo().await;
    lab.agent.share("web", &origin.target()).await;
    let mut socket = connect(&lab).await;
    for message in [
        Message::text("grüß dich"),
        Message::text(""),
        Message::binary(vec![0, 1, 255]),
        Message::binary(ginnel_tests::pattern::Pattern::bytes(1 << 20)),
    ] {
        socket.send(message.clone()).await.expect("sent");
        assert!(next(&mut socket).await == message);
    }
    socket
        .send(Message::Ping("are you there".into()))
        .await
        .expect("sent");
    assert_eq!(
        next(&mut socket).await,
        Message::Pong("are you there".into())
    );

    let goodbye = CloseFrame {
        code: CloseCode::Normal,
        reason: "enough".into(),
    };
    socket.close(Some(goodbye.clone())).await.expect("sent");
    assert_eq!(next(&mut socket).await, Message::Close(Some(goodbye)));
    assert!(in_time("the end", socket.next()).await.is_none());
}

#[tokio::test]
async fn many_messages_keep_their_order_both_ways() {
    let lab = Lab::start().await;
    let origin = echo().await;
    lab.agent.share("web", &origin.target()).await;
    let (mut sink, mut messages) = connect(&lab).await.split();
    let send = async {
        for number in 0..2000 {
            sink.send(Message::text(format!("message {number}")))
                .await
                .expect("sent");
        }
    };
    let receive = async {
        for number in 0..2000 {
            let message = in_time("a message", messages.next()).await;
            let message = message.expect("open").expect("readable");
            assert_eq!(message, Message::text(format!("message {number}")));
        }
    };
    tokio::join!(send, receive);
}

#[tokio::test]
async fn a_service_can_speak_first_and_close_first() {
    let lab = Lab::start().await;
    let origin = Origin::raw(|stream| async move {
        let mut socket = accept_async(stream).await.expect("opens");
        socket.send(Message::text("hello")).await.expect("sent");
        socket.close(None).await.expect("sent");
        while let Some(Ok(_)) = socket.next().await {}
    })
    .await;
    lab.agent.share("web", &origin.target()).await;
    let mut socket = connect(&lab).await;
    assert_eq!(next(&mut socket).await, Message::text("hello"));
    assert_eq!(next(&mut socket).await, Message::Close(None));
}

#[tokio::test]
async fn a_refused_websocket_says_why() {
    let lab = Lab::start().await;
    let answer = "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";
    let (origin, _heads) = Origin::canned(answer).await;
    lab.agent.share("web", &origin.target()).await;
    let stream = lab.caller.connect().await;
    let error = in_time("a handshake", client_async("ws://web.localhost/", stream))
        .await
        .expect_err("refused");
    let Error::Http(response) = error else {
        panic!("not an answer: {error}");
    };
    assert_eq!(response.status(), 403);
}
