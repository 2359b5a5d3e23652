// A one-time link, /login#KEY, signs in by itself. What stands behind the # is never sent with an
// address, so no log, no referrer and no preview of the link has it; and it leaves the history, too.
const key = location.hash.slice(1);
if (key) {
  history.replaceState(null, "", location.pathname + location.search);
  const form = document.getElementById("login");
  document.getElementById("by-link").hidden = false;
  form.elements.key.value = key;
  form.submit();
}
