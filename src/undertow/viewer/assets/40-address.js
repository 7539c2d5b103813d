// The state of each view, written into its address.
(function () {
  "use strict";
  const u = window.undertow, c = window.dash_clientside.undertow;
  const none = window.dash_clientside.no_update;
  const writer = (names) => (...values) => {
    u.address(Object.fromEntries(names.map((name, i) => [name, values[i]])));
    return none;
  };
  c.title = (title) => {
    if (title) document.title = `${title} · ${document.querySelector(".run-name").textContent} · Undertow`;
    return none;
  };
  c.address_overview = writer(["model", "attack", "success", "class", "part", "estimator"]);
  c.address_also = writer(["also"]);
  c.address_trajectory = writer(["cell", "input"]);
  c.address_layer = writer(["cell", "input", "tap", "order", "tint"]);
  c.address_compare = writer(["a", "b", "part", "class"]);
  c.address_live = writer(["model", "data", "index", "attack", "target"]);
})();
