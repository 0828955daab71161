"""What a client saw, as JSON lines. No ports, no process ids and no times, so that two runs can be compared."""
import json
import os
import sys
import threading

# Seconds that a scenario may take.
LONGEST = 20


def play(scenarios):
    """Plays the scenarios one after the other against the address on the command line. Each gets `say`, its own host name (a function
    of its own behind Thaw), and the port on 127.0.0.1."""
    port = int(sys.argv[1].split(":")[1])
    only = sys.argv[2:]
    for name, scenario in scenarios.items():
        if only and name not in only:
            continue

        def say(name=name, **seen):
            print(json.dumps({"scenario": name, **seen}, ensure_ascii=False), flush=True)

        def run(scenario=scenario, say=say, host=f"{name}--interop.localhost:{port}"):
            try:
                scenario(say, host, port)
            except Exception as error:
                say(broke=f"{type(error).__name__}: {error}")

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(LONGEST)
        if thread.is_alive():
            say(broke="it took too long")
    sys.stdout.flush()
    # Threads of libraries and of scenarios that took too long do not hold it up.
    os._exit(0)
