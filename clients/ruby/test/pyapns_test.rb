# frozen_string_literal: true

require "support"
require "apnsd/pyapns"
require "rack/mock"
require "scripted_server"

# Applications that were written for pyapns' client.
class PyapnsTest < Minitest::Test
  include WithWorld
  include ScriptedServer

  def setup
    super
    Singleton.__init__(PYAPNS::Client)
    @log = StringIO.new
  end

  def test_initial_provisions_apps
    pyapns = PYAPNS::Client.configure("Host" => "127.0.0.1", PORT: port, initial: [initial])
    assert_same PYAPNS::Client.instance, pyapns
    assert_predicate pyapns, :configured?
    assert_equal "sandbox", pyapns.apnsd.status(app)[:environment]
    assert_nil pyapns.notify(app, token("e1"), HELLO)
    assert_arrived(token("e1"))
  end

  def test_initial_that_fails_is_logged_and_told_when_the_app_is_used
    pyapns = configure(initial: [initial(cert: "/nowhere.pem")])
    assert_match(/provision of #{app} failed: .*nowhere\.pem/, @log.string)
    error = assert_raises(XMLRPC::FaultException) { pyapns.notify(app, token("e2"), HELLO) }
    assert_equal 8002, error.faultCode
    assert_match(/nowhere\.pem/, error.faultString)
  end

  def test_the_first_configure_counts
    pyapns = configure
    assert_same pyapns, PYAPNS::Client.configure(host: "nowhere.invalid")
    refute_includes(pyapns.apnsd.apps.map { |each| each[:app_id] }, app)
  end

  def test_arguments_are_positional_or_a_hash
    pyapns = configure
    assert_nil pyapns.provision(app, world[:certificate], "sandbox", 15)
    assert_nil pyapns.provision(app_id: app, cert: world[:certificate], env: "sandbox", timeout: 15)
    assert_nil pyapns.notify(app, token("e3"), HELLO)
    assert_nil pyapns.notify(app_id: app, tokens: [token("e4")], notifications: [HELLO])
    assert_equal [], pyapns.feedback(app)
    assert_equal [], pyapns.feedback(app_id: app)
    assert_arrived(token("e3"), token("e4"))
  end

  def test_every_shape_of_notify_arrives
    pyapns = configure(initial: [initial])
    note = PYAPNS::Notification.new("Hi", "3", :default, { "id" => 7 })
    pyapns.notify(app, token("f1"), note)
    pyapns.notify(app, token("f2"), [note])
    pyapns.notify(app, [token("f3"), token("f4")], [note, { "aps" => { "alert" => "Hi" } }])
    pyapns.notify(app, [token("f5"), token("f6")], note)
    pyapns.notify(app, token("f7"), { aps: { alert: "Hi", badge: nil }, deep: { a: nil } })
    arrived = assert_arrived(*(1..7).map { |number| token("f#{number}") })
    payloads = arrived.to_h { |entry| [entry["token"][0, 2], entry["payload"]] }
    assert_equal({ "aps" => { "alert" => "Hi", "badge" => 3, "sound" => "default" }, "id" => 7 }, payloads["f1"])
    assert_equal({ "aps" => { "alert" => "Hi" } }, payloads["f4"])
    assert_equal({ "aps" => { "alert" => "Hi" }, "deep" => { "a" => nil } }, payloads["f7"])
  end

  def test_missing_arguments_are_invalid
    pyapns = configure
    [[], ["a"], ["a", nil, HELLO], [{ app_id: "a", tokens: "t" }], ["a", "t", HELLO, 1]].each do |args|
      error = assert_raises(PYAPNS::InvalidArguments) { pyapns.notify(*args) }
      assert_match(/\AInvalid args supplied \[:app_id, :tokens, :notifications\]/, error.message)
    end
    assert_raises(PYAPNS::InvalidArguments) { pyapns.provision(app, "cert", "sandbox") }
    assert_raises(PYAPNS::InvalidArguments) { pyapns.notify(app, %w[a b c], [HELLO, HELLO]) }
    assert_raises(PYAPNS::InvalidArguments) { Singleton.__init__(PYAPNS::Client) && configure(initial: [{ env: "x" }]) }
    refute_predicate PYAPNS::Client.instance, :configured?
  end

  def test_before_configure_nothing_works
    error = assert_raises(PYAPNS::NotConfigured) { PYAPNS::Client.instance.feedback("a") }
    assert_equal "call PYAPNS::Client.configure first", error.message
  end

  def test_faults_are_the_errors_that_a_plain_rescue_catches
    pyapns = configure
    told = begin
      pyapns.feedback("nobody")
    rescue => e # rubocop:disable Style/RescueStandardError
      e
    end
    assert_instance_of PYAPNS::UnknownAppID, told
    assert_match(/\AThe app_id specified has not been provisioned. This client has no settings for `n/, told.message)
    assert_raises(PYAPNS::InvalidEnvironment) { pyapns.provision("x", world[:certificate], "staging", 15) }
    assert_raises(XMLRPC::FaultException) { pyapns.provision("x", world[:expired_certificate], "sandbox", 15) }
    pause = "<struct><member><name>faultCode</name><value><int>500</int></value></member><member>" \
            "<name>faultString</name><value><string>paused</string></value></member></struct>"
    with_server([ScriptedServer.fault(pause)]) do
      Singleton.__init__(PYAPNS::Client)
      pyapns = PYAPNS::Client.configure(host: @address)
      assert_equal "paused", assert_raises(PYAPNS::ServerTimeout) { pyapns.feedback("x") }.message
    end
  end

  def test_errors_of_sockets_come_as_they_were
    server = TCPServer.new("127.0.0.1", 0)
    free = server.addr[1]
    server.close
    pyapns = PYAPNS::Client.configure(host: "127.0.0.1", port: free)
    assert_raises(Errno::ECONNREFUSED) { pyapns.feedback("x") }
    with_server([:silence]) do
      Singleton.__init__(PYAPNS::Client)
      pyapns = PYAPNS::Client.configure(host: @address, timeout: 0.2)
      assert_raises(Timeout::Error) { pyapns.feedback("x") }
    end
  end

  def test_feedback_has_the_dates_of_xmlrpc_in_utc
    pyapns = configure
    pyapns.apnsd.provision(app, **settings_with_topic)
    dead = pyapns.apnsd.deliver(app, token("dead77"), HELLO)
    (date, token), *others = pyapns.feedback(app)
    assert_instance_of XMLRPC::DateTime, date
    assert_equal dead[0][:timestamp], date.to_time
    assert_equal token("dead77"), token
    assert_empty others
  end

  def test_with_a_block_the_result_comes_from_another_thread
    pyapns = configure(initial: [initial])
    results = Thread::Queue.new
    assert_nil(pyapns.feedback(app) { |result| results << [result, Thread.current] })
    result, thread = results.pop
    assert_equal [], result
    refute_same Thread.current, thread
    assert_nil(pyapns.notify(app, token("e5"), HELLO) { |nothing| results << nothing })
    assert_nil results.pop
    assert_arrived(token("e5"))
  end

  def test_an_error_in_the_block_form_is_logged
    lines = Thread::Queue.new
    logger = Logger.new(@log, formatter: ->(_, _, _, text) { (lines << text) && text })
    pyapns = configure(logger:)
    assert_nil(pyapns.feedback("nobody") { flunk "there is no result" })
    assert_match(/\Afeedback for nobody with a block: .*has not been provisioned/m, lines.pop)
    pyapns.provision(app, world[:certificate], "sandbox", 15) { raise IOError, "in the block" }
    assert_match(/\Aprovision for #{app} with a block: .*in the block \(IOError\)/m, lines.pop)
  end

  def test_a_daemon_that_lost_its_state_is_given_its_apps_again
    pyapns = configure(initial: [initial])
    %w[kill forget start].each { |command| world.ask(command) }
    assert_nil pyapns.notify(app, token("e6"), HELLO)
    world.ask("wait_arrived #{@before + 1}")
    %w[kill forget start].each { |command| world.ask(command) }
    assert_equal [], pyapns.feedback(app)
  end

  def test_the_middleware_configures_and_passes_requests_through
    inner = ->(env) { [200, {}, [env["PATH_INFO"]]] }
    stack = PYAPNS::ClientConfiguration.new(inner, { host: "127.0.0.1", port:, initial: [initial] })
    assert_equal "sandbox", PYAPNS::Client.instance.apnsd.status(app)[:environment]
    assert_equal "/path", Rack::MockRequest.new(stack).get("/path").body
  end

  def test_a_host_may_be_a_url
    { { host: "http://localhost/" } => "http://localhost:7077/",
      { host: "h", port: 1, path: "/RPC2" } => "http://h:1/RPC2",
      { host: "https://me:pw@h:8/x" } => "https://h:8/x", { host: "unix:/run/a.sock" } => "unix:/run/a.sock",
      { host: "::1" } => "http://[::1]:7077/", { host: "[::1]", port: 9 } => "http://[::1]:9/",
      { host: "", port: "" } => "http://127.0.0.1:7077/", { path: 7 } => "http://localhost:7077/7",
      { port: 9 } => "http://localhost:9/", {} => "http://127.0.0.1:7077/" }.each do |settings, url|
      Singleton.__init__(PYAPNS::Client)
      assert_equal "#<Apnsd::Client #{url} apps: >", PYAPNS::Client.configure(settings).apnsd.inspect
    end
  end

  def test_settings_that_cannot_work_are_refused
    initial = "initial: an Array with a Hash for each app is needed: [{ app_id:, cert:, env: }, …]"
    { { initial: ["a"] } => initial, { initial: { app_id: "a", cert: "c", env: "e" } } => initial,
      { initial: "a" } => initial, { initial: [{ 1 => 2 }] } =>
        "Invalid args supplied [:app_id, :cert, :env, :timeout]: all of them are needed, and none may be nil",
      "localhost" => "configure: a Hash of settings is needed, not String" }.each do |settings, text|
      error = assert_raises(PYAPNS::InvalidArguments) { PYAPNS::Client.configure(settings) }
      assert_equal text, error.message
    end
  end

  def test_what_speaks_no_http_is_told_with_the_question_for_the_url
    with_server(["SSH-2.0-OpenSSH\r\n"]) do |_, _|
      pyapns = PYAPNS::Client.configure(host: @address)
      error = assert_raises(Apnsd::ConnectionFailed) { pyapns.feedback("a") }
      assert_match(/is this the URL of apnsd\?\z/, error.message)
    end
  end

  def test_a_notification_can_be_read_and_changed
    note = PYAPNS::Notification.new("Hi", 9, "flynn.caf", { extra: "guid" })
    assert_equal ["Hi", 9, "flynn.caf", "guid"], [note.alert, note.badge, note.sound, note.extra(:extra)]
    note.alert = nil
    note.badge = 0
    note.set_extra("more", [1])
    note.set_extra(:none, nil)
    assert_equal({ "aps" => { "badge" => 0, "sound" => "flynn.caf" }, "extra" => "guid", "more" => [1] }, note.encode)
    assert_equal({ "aps" => { "alert" => "1" } }, PYAPNS::Notification.new(alert: 1, other: 2).encode)
    assert_equal({ "aps" => { "alert" => "x" }, "a" => 1 },
                 PYAPNS::Notification.encode({ aps: { alert: "x", badge: nil }, a: 1, b: nil }))
  end

  def test_both_names_under_which_it_was_required_work
    %w[pyapns PYAPNS].each do |name|
      directories = %w[lib names].flat_map { |path| ["-I", File.expand_path("../#{path}", __dir__)] }
      output, = Open3.capture2e("ruby", "-w", *directories, "-r", name, "-e", "p PYAPNS::Client.instance.configured?")
      assert_equal "false\n", output
    end
  end

  private

  def port
    URI(world[:url]).port
  end

  def configure(**more)
    PYAPNS::Client.configure(host: "127.0.0.1", port:, logger: Logger.new(@log), **more)
  end

  def initial(**more)
    { app_id: app, cert: world[:certificate], env: "sandbox", timeout: 15, **more }
  end
end
