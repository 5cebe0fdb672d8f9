-- wrk: send a random line of the file that LINES_OF names, as the path of a GET or, where METHOD is
-- POST, as the SQL of a question to ROAPI; which lines, SEED
-- says (below 0: all in their order, again and again); KEY, if there is one, goes along as who asks
local lines = {}
for line in io.lines(os.getenv("LINES_OF")) do
  lines[#lines + 1] = line
end
local is_post = os.getenv("METHOD") == "POST"
if os.getenv("KEY") ~= "" then
  wrk.headers["Authorization"] = "Bearer " .. os.getenv("KEY")
end
local seed, place = tonumber(os.getenv("SEED")), 0
math.randomseed(seed)
request = function()
  place = seed < 0 and place % #lines + 1 or math.random(#lines)
  local line = lines[place]
  if is_post then
    return wrk.format("POST", "/api/sql", nil, line)
  end
  return wrk.format("GET", line)
end
