-- wrk: ask for a random line of the file that URLS names
local paths = {}
for path in io.lines(os.getenv("URLS")) do
  paths[#paths + 1] = path
end
math.randomseed(7)
request = function()
  return wrk.format("GET", paths[math.random(#paths)])
end
