// Shows the stream as it arrives; a proxy that buffers shows it all at once.
const shown = document.getElementById("stream");
const events = new EventSource("stream");
events.onmessage = (event) => {
  if (event.data === "[DONE]") {
    events.close();
    return;
  }
  shown.textContent += JSON.parse(event.data).token;
};
events.onerror = () => events.close();
