// Plays the sheets of each viewer in step: all of them show the frame at --x, --y of their grid.
const FRAMES_PER_SECOND = 6;
function play(viewer) {
  const frames = viewer.dataset.frames.split(" ");
  const past = Number(viewer.dataset.past);
  const columns = Number(viewer.dataset.columns);
  const controls = viewer.querySelector(".controls");
  const [button, slider] = controls.querySelectorAll("button, input[type=range]");
  const [sequence, all] = ["select", "input[type=checkbox]"].map((of) => controls.querySelector(of));
  const takes = viewer.querySelectorAll(".take");
  const share = (index, count) => (count > 1 ? `${(100 * index) / (count - 1)}%` : "0%");
  let timer = 0;

  function show(frame) {
    slider.value = frame;
    slider.setAttribute("aria-valuetext", frames[frame]);
    controls.querySelector("output").value = frames[frame];
    const isPast = frame < past;
    const [place, count] = isPast ? [frame, past] : [frame - past, frames.length - past];
    viewer.classList.toggle("past", isPast);
    viewer.style.setProperty("--x", share(place % columns, Math.min(count, columns)));
    viewer.style.setProperty("--y", share(Math.floor(place / columns), Math.ceil(count / columns)));
  }
  const step = (by) => show((Number(slider.value) + by + frames.length) % frames.length);
  function run(isRunning) {
    clearInterval(timer);
    timer = isRunning ? setInterval(step, 1000 / FRAMES_PER_SECOND, 1) : 0;
    button.textContent = isRunning ? "Pause" : "Play";
  }
  function choose() {
    takes.forEach((take, index) => take.classList.toggle("chosen", index === (sequence?.selectedIndex ?? 0)));
  }

  button.addEventListener("click", () => run(!timer));
  slider.addEventListener("input", () => { run(false); show(Number(slider.value)); });
  sequence?.addEventListener("change", choose);
  all?.addEventListener("change", () => { run(false); viewer.classList.toggle("all", all.checked); });
  viewer.addEventListener("keydown", (event) => {
    if (event.target !== viewer) return;
    if (event.key === " ") run(!timer);
    else if (event.key === "ArrowRight") { run(false); step(1); }
    else if (event.key === "ArrowLeft") { run(false); step(-1); }
    else return;
    event.preventDefault();
  });
  // Nothing moves out of sight, nor by itself where the reader asked for less motion.
  let mayStart = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  new IntersectionObserver(([entry]) => {
    if (!entry.isIntersecting) { mayStart ||= timer !== 0; run(false); }
    else if (mayStart && !all?.checked) { mayStart = false; run(true); }
  }).observe(viewer);
  controls.addEventListener("submit", (event) => event.preventDefault());
  controls.hidden = false;
  viewer.classList.add("player");
  choose();
  show(past);
}
document.querySelectorAll(".viewer").forEach(play);
