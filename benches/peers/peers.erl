%% Erlang/OTP as a peer: the scenarios of benches/peers/README.md, one scheduler, one JSON line.
-module(peers).
-behaviour(supervisor).
-export([main/1, init/1, start_worker/1, start_fragile/1, worker/1, fragile/1]).

-define(WORKERS, 10000).
-define(FRAGILE, 10000).

main([Scenario, N]) -> main([list_to_atom(Scenario), list_to_integer(N), here]);
main([Scenario, N, here]) ->
    %% What is reported of each crash would be dearer than the restart.
    logger:set_primary_config(level, none),
    {Wall, Cpu, Bytes} = run(Scenario, N),
    io:format("{\"peer\":\"erlang\",\"scenario\":\"~s\",\"n\":~b,\"cpu_ns\":~b,\"wall_ns\":~b,\"bytes\":~b}~n",
              [Scenario, N, Cpu div N, Wall div N, Bytes div N]),
    erlang:halt(0, [{flush, true}]).

%% === measure ===

begin_() -> {erlang:monotonic_time(nanosecond), cpu(), resident()}.

end_({Wall, Cpu, Bytes}) ->
    {erlang:monotonic_time(nanosecond) - Wall, cpu() - Cpu, max(0, resident() - Bytes)}.

%% CPU of all threads, in nanoseconds; told in milliseconds.
cpu() -> element(1, erlang:statistics(runtime)) * 1000000.

resident() ->
    {ok, Statm} = file:read_file("/proc/self/statm"),
    [_, Pages | _] = binary:split(Statm, <<" ">>, [global]),
    binary_to_integer(Pages) * 4096.

%% === supervisor ===

init(Start) ->
    Flags = #{strategy => simple_one_for_one, intensity => 1000000000, period => 1},
    {ok, {Flags, [#{id => child, start => {?MODULE, Start, []}}]}}.

start_worker(Top) -> {ok, proc_lib:spawn_link(?MODULE, worker, [Top])}.
start_fragile(Top) -> {ok, proc_lib:spawn_link(?MODULE, fragile, [Top])}.

workers(Count) ->
    {ok, Sup} = supervisor:start_link(?MODULE, start_worker),
    [begin {ok, Pid} = supervisor:start_child(Sup, [self()]), Pid end || _ <- lists:seq(1, Count)].

worker(Top) ->
    receive {task, Task} -> Top ! {done, self(), Task}, worker(Top) end.

%% Asks for its next crash when it has (re)started.
fragile(Top) ->
    Top ! {up, self()},
    receive crash -> exit(asked_for) end.

%% === scenarios ===

run(idle, N) ->
    Began = begin_(),
    Workers = workers(N),
    Took = end_(Began),
    true = length(Workers) =:= N,
    Took;
run(tasks, N) ->
    Workers = workers(?WORKERS),
    Began = begin_(),
    Sent = first(Workers, 0, N),
    fan_out(Sent, 0, N),
    end_(Began);
run(crash, N) ->
    %% One supervisor each: it looks through all restarts of the last second at each restart.
    [begin {ok, Sup} = supervisor:start_link(?MODULE, start_fragile),
           {ok, _} = supervisor:start_child(Sup, [self()])
     end || _ <- lists:seq(1, ?FRAGILE)],
    Began = begin_(),
    crashes(N),
    %% The last of them are up again.
    [receive {up, _} -> ok end || _ <- lists:seq(1, ?FRAGILE)],
    end_(Began).

first([Worker | Workers], Sent, N) when Sent < N ->
    Worker ! {task, Sent},
    first(Workers, Sent + 1, N);
first(_, Sent, _) -> Sent.

fan_out(_, N, N) -> ok;
fan_out(Sent, Ended, N) ->
    receive
        {done, Worker, _} when Sent < N ->
            Worker ! {task, Sent},
            fan_out(Sent + 1, Ended + 1, N);
        {done, _, _} -> fan_out(Sent, Ended + 1, N)
    end.

crashes(0) -> ok;
crashes(N) -> receive {up, Pid} -> Pid ! crash, crashes(N - 1) end.
