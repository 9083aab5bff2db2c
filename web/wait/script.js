(() => {
  'use strict';
  const main = document.querySelector('main'), log = document.getElementById('log');
  const failed = main.classList.contains('failed');
  const MAX = 65536;
  let at = main.dataset.at, begin = Date.now() - Number(main.dataset.begin), misses = 0;
  const text = (id, value) => { const e = document.getElementById(id); if (e && e.textContent !== value) e.textContent = value; };
  const again = ms => setTimeout(poll, ms);
  const tick = () => text('time', Math.max(0, Math.floor((Date.now() - begin) / 1000)) + ' s');

  function show(s) {
    text('phase', s.phase);
    begin = Date.now() - s.elapsed_ms;
    document.querySelectorAll('#steps li').forEach((li, i) => { li.className = i < s.step ? 'done' : i === s.step ? 'now' : ''; });
    at = s.at;
    if (!s.log) return;
    const follows = log.scrollTop + log.clientHeight >= log.scrollHeight - 40;
    log.hidden = false;
    log.textContent = (log.textContent + s.log).slice(-MAX);
    if (follows) log.scrollTop = log.scrollHeight;
  }

  async function poll() {
    try {
      const r = await fetch(main.dataset.status + '?at=' + at + (failed ? '&look=true' : ''),
        {cache: 'no-store', redirect: 'error', headers: {Accept: 'application/json'}});
      if (!r.ok) throw new Error(r.status);
      const s = await r.json();
      misses = 0;
      if (s.state === (failed ? 'failed' : 'waiting')) {
        if (!failed) show(s);
        return again(failed ? 3000 : 200);
      }
      location.reload();
    } catch (e) {
      if (++misses > 3) return setTimeout(() => location.reload(), 5000);
      again(1000 * misses);
    }
  }

  log.scrollTop = failed ? 0 : log.scrollHeight;
  if (!failed) { tick(); setInterval(tick, 1000); }
  again(failed ? 3000 : 200);
})();
