-- Asks ckgate's decision API about a request, for haproxy.cfg beside this file. A permitted request
-- gets the headers it is sent with and the variable txn.ckgate_target; any other is answered here.

local DECISION = "http://127.0.0.1:8287/haproxy"

-- Of the answer: the headers that go to the upstream.
local SET = { "authorization", "user_id", "x-request-id", "traceparent", "x-stainless-package-version" }
-- Headers of one connection, and those in which the question itself stands.
local OWN = {
    ["host"] = true, ["connection"] = true, ["content-length"] = true, ["transfer-encoding"] = true,
    ["keep-alive"] = true, ["te"] = true, ["upgrade"] = true, ["expect"] = true,
    ["x-original-method"] = true, ["x-original-uri"] = true,
    ["x-original-host"] = true, ["x-original-body"] = true,
}

local function first(values)
    return values and values[0]
end

-- What is asked: the caller's headers, and the request line beside them.
local function question(txn, headers)
    local asked = {}
    for name, values in pairs(headers) do
        if not OWN[name] then
            asked[name] = {}
            for index = 0, #values do asked[name][index + 1] = values[index] end
        end
    end
    local length = first(headers["content-length"])
    local none = (length == nil or length == "0") and headers["transfer-encoding"] == nil
    asked["x-original-method"] = { txn.sf:method() }
    asked["x-original-uri"] = { txn.sf:url() }
    asked["x-original-host"] = { first(headers["host"]) or "" }
    asked["x-original-body"] = { none and "none" or "present" }
    return asked
end

local function refuse(txn, answer)
    local headers = {}
    for name, values in pairs(answer.headers) do
        if not OWN[name] then
            headers[name] = {}
            for index = 0, #values do headers[name][index + 1] = values[index] end
        end
    end
    txn:done(txn:reply{ status = answer.status, headers = headers, body = answer.body or "" })
end

core.register_action("ckgate", { "http-req" }, function(txn)
    local headers = txn.http:req_get_headers()
    local answer = core.httpclient():get{ url = DECISION, headers = question(txn, headers), timeout = 5000 }
    if answer == nil or answer.status == nil or answer.status == 0 then return end
    if answer.status ~= 200 then return refuse(txn, answer) end

    for name in (first(answer.headers["x-ckgate-drop"]) or ""):gmatch("[^, ]+") do
        txn.http:req_del_header(name)
    end
    for _, name in ipairs(SET) do
        local value = first(answer.headers[name])
        if value then txn.http:req_set_header(name, value) end
    end
    for variable, name in pairs({
        ckgate_request_id = "x-request-id",
        ckgate_allow_origin = "access-control-allow-origin",
        ckgate_expose = "access-control-expose-headers",
        ckgate_target = "x-ckgate-target",
    }) do
        local value = first(answer.headers[name])
        if value then txn:set_var("txn." .. variable, value) end
    end
end)
