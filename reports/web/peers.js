// Ours beside the engines of other programs: words, tables and pictures as the program wrote them into peers.md.
(function (report) {
  "use strict";

  const { el, byId, replace } = report.dom;
  const { peers } = report.data;
  const isThere = peers !== null && peers !== undefined;

  /** What does not depend on the state. */
  function begin() {
    if (!isThere) return;
    byId("peers").hidden = false;
    const pictures = peers.pictures.map(({ src, alt }) => el("img", { class: "picture", src, alt }));
    replace("peers-body", pictures, report.blocks(peers.blocks, "Beside the peers"));
  }

  report.peers = { isThere, begin };
})(window.Report ??= {});
