import { useEffect, useRef } from "preact/hooks";
import { access, enterKey, refusal } from "../access";

/** Asks for an API key, and says why where one was entered before. */
export function KeyDialog() {
  const dialog = useRef<HTMLDialogElement>(null);
  const field = useRef<HTMLInputElement>(null);
  const isAsking = access.value === "asking";

  useEffect(() => {
    if (!isAsking) {
      dialog.current?.close();
      return;
    }
    dialog.current?.showModal();
    if (field.current) field.current.value = "";
    field.current?.focus();
  }, [isAsking]);

  const submit = (event: Event) => {
    event.preventDefault();
    const entered = field.current?.value ?? "";
    if (entered.trim() !== "") enterKey(entered);
  };

  return (
    <dialog ref={dialog} class="key" aria-labelledby="key-title" onCancel={(event) => event.preventDefault()}>
      <form onSubmit={submit}>
        <h2 id="key-title">Enter your API key</h2>
        {refusal.value !== "" && (
          <p class="why" role="alert">
            {refusal.value}
          </p>
        )}
        <p>The map shows what your key may see. It is kept for this tab only, and forgotten when you close it.</p>
        <label for="key">API key</label>
        <input ref={field} id="key" type="password" autocomplete="off" spellcheck={false} required />
        <button type="submit" class="primary">
          Open the map
        </button>
        <p class="hint">
          The demo prints its key where it was started. Operators make keys with{" "}
          <code>location-gateway keys create</code>.
        </p>
      </form>
    </dialog>
  );
}
