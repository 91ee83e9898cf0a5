"""What can be seen of a running application from outside: traces and metrics, by OpenTelemetry.

- `switch` decides whether spans and figures are exported. If they are not, nothing of OpenTelemetry's SDK is imported
  and no code of this room runs in a request, a statement or a command.
- `sdk` sets up OpenTelemetry from the settings and the standard variables, `prometheus` the port for scrapes, and
  `discretion` removes from spans what may contain values. `late` is what FastAPI's own telemetry gets.
- `observe` puts spans and figures around what a process holds open, by replacing methods of these objects (`wrapping`):
  `database`, `redis`, `tasks`, `depths`, `outcomes`. `sql` is what is shown of a statement.

`TelemetrySettings` switches it on; without this class among the bases of `Settings` nothing of it is used.
docs/observability.md has the names of all signals.
"""
