"use strict";
const details = () => document.querySelectorAll("details");
const reveal = () => {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (target && target.tagName === "DETAILS") { target.open = true; target.scrollIntoView(); }
};
addEventListener("hashchange", reveal);
reveal();
addEventListener("beforeprint", () => details().forEach((one) => { one.open = true; }));
for (const button of document.querySelectorAll("[data-open]")) {
  button.addEventListener("click", () => details().forEach((one) => { one.open = button.dataset.open === "true"; }));
}
for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) { button.hidden = true; continue; }
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.previousElementSibling.textContent);
    button.textContent = "Copied";
  });
}
