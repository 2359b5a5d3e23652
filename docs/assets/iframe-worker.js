// Search in a site that is opened from the disk: browsers start no worker from a file, so what it
// would run is run in a hidden frame. Material for MkDocs would fetch such a script from a CDN.
if (location.protocol === "file:") {
  const load = (...urls) =>
    urls.reduce(
      (before, url) =>
        before.then(
          () =>
            new Promise((resolve, reject) => {
              const script = document.createElement("script");
              script.src = url;
              script.onload = resolve;
              script.onerror = reject;
              document.body.appendChild(script);
            }),
        ),
      Promise.resolve(),
    );

  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      this.frame.title = "search";
      document.body.appendChild(this.frame);
      addEventListener("message", (event) => {
        if (event.source !== this.frame.contentWindow) return;
        this.dispatchEvent(new MessageEvent("message", { data: event.data }));
      });
      const page = this.frame.contentDocument;
      page.open();
      page.write(
        `<body><script>var postMessage = (data) => parent.postMessage(data, "*");` +
          `var importScripts = ${load};</script><script src="${url}"></script></body>`,
      );
      page.close();
    }

    postMessage(data) {
      const send = () =>
        this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data }));
      if (this.frame.contentDocument.readyState === "complete") send();
      else this.frame.addEventListener("load", send, { once: true });
    }

    terminate() {
      this.frame.remove();
    }
  };
}
