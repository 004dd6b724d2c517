"use strict";
// The part of the address after # says which cell is open: links, deep links and the back button are all one thing.
let opener = null;
const wanted = () => document.getElementById(decodeURIComponent(location.hash.slice(1)));
const show = () => {
  for (const other of document.querySelectorAll("dialog[open]")) if (other !== wanted()) other.close();
  if (!(wanted() instanceof HTMLDialogElement)) opener?.focus({ preventScroll: true });
  else if (!wanted().open) wanted().showModal();
};
addEventListener("hashchange", show);
addEventListener("click", ({ target }) => { opener = target.closest("main a") ?? opener; });
addEventListener("close", ({ target }) => { if (target === wanted()) location.replace("#all"); }, true);
show();
