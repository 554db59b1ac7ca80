'use strict';
(function () {
  var version = '$version', chunk = '$chunk', picture = '$picture';
  var body = document.body;
  function finish(state) { body.dataset.state = state; document.title = 'Lookit study: ' + state; }
  if (body.dataset.version !== version || window.lookitVendor !== true) { finish('mixed'); return; }
  var image = new Image();
  image.onerror = function () { finish('no picture'); };
  image.onload = function () {
    var script = document.createElement('script');
    script.onerror = function () { finish('no chunk'); };
    script.onload = function () {
      if (window.lookitChunk !== version) { finish('mixed'); return; }
      fetch('$map').then(function (answer) { return answer.json(); }).then(function (map) {
        var whole = map.assets.indexOf(chunk) >= 0;
        body.appendChild(document.createElement('h1')).textContent = 'Study ' + version;
        finish(whole ? 'ready' : 'mixed');
      }, function () { finish('no map'); });
    };
    script.src = chunk;
    body.appendChild(script);
  };
  image.src = picture;
})();
