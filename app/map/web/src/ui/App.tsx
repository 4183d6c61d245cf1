import { theme, toggleTheme } from "../theme";
import { KeyDialog } from "./KeyDialog";
import { Legend } from "./Legend";
import { Panel } from "./Panel";
import { Status } from "./Status";
import { Tooltip } from "./Tooltip";

export function App() {
  return (
    <>
      <button type="button" class="skip" onClick={() => document.getElementById("content")?.focus()}>
        Skip to the list
      </button>
      <header>
        <h1>Location gateway</h1>
        <Status />
        <div class="tools">
          <a href="docs">API docs</a>
          <button type="button" onClick={toggleTheme} aria-pressed={theme.value === "dark"}>
            Dark
          </button>
        </div>
      </header>
      <main>
        <Panel />
      </main>
      <Legend />
      <Tooltip />
      <KeyDialog />
    </>
  );
}
