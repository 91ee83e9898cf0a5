-- Sends the plan's requests in turns and checks every response. Argument: the plan, a Lua file that returns a table.
local threads = {}

function setup(thread)
   table.insert(threads, thread)
end

function init(arguments)
   plan = dofile(arguments[1])
   turn, wrong, first_wrong = 0, 0, ""
end

function request()
   turn = turn % #plan.requests + 1
   return plan.requests[turn]
end

function response(status, headers, body)
   local cached = headers["x-cache"]
   if status ~= plan.status or (plan.cached and cached ~= "hit") then
      wrong = wrong + 1
      if first_wrong == "" then
         first_wrong = string.format("status %d, X-Cache %s: %s", status, tostring(cached), string.sub(body, 1, 200))
      end
   end
end

function done(summary, latency, requests)
   local wrong, first_wrong = 0, ""
   for _, thread in ipairs(threads) do
      wrong = wrong + thread:get("wrong")
      if first_wrong == "" then first_wrong = thread:get("first_wrong") end
   end
   local errors = summary.errors
   io.write(string.format("RESULT %d %d %d %d %d %d %s\n", summary.requests, summary.duration,
      latency:percentile(50), latency:percentile(99), wrong,
      errors.connect + errors.read + errors.write + errors.timeout, first_wrong))
end
