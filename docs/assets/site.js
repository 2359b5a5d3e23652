// What has to be scrolled sideways can be reached with the keyboard.
function mark() {
  for (const part of document.querySelectorAll(".md-typeset__scrollwrap, pre > code")) {
    if (part.scrollWidth > part.clientWidth) part.tabIndex = 0;
    else part.removeAttribute("tabindex");
  }
}
addEventListener("load", mark);
addEventListener("resize", mark);
