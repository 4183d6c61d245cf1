import type { Report } from "../api/types";
import { metres, sourceWords, time } from "../format";

/** The latest reports of a device, as a table. */
export function Reports({ reports }: { reports: Report[] }) {
  return (
    <>
      <h3>Reports</h3>
      {reports.length === 0 ? (
        <p class="note">None is stored.</p>
      ) : (
        <div class="scroll">
          <table>
            <thead>
              <tr>
                <th scope="col">Time</th>
                <th scope="col">What</th>
                <th scope="col">Within</th>
              </tr>
            </thead>
            <tbody>
              {reports.map((report) => (
                <tr key={report.id} class={report.status}>
                  <td>{time(report.location?.timestamp ?? report.error?.timestamp ?? report.receivedAt)}</td>
                  <td>{what(report)}</td>
                  <td>{report.location?.accuracy == null ? "" : metres(report.location.accuracy)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </>
  );
}

function what({ location, error, status, type, flags }: Report): string {
  const words = location ? sourceWords(location.source) : (error?.info ?? error?.type ?? `${type}, ${status}`);
  return flags.length === 0 ? words : `${words} (${flags.join(", ").replaceAll("_", " ")})`;
}
