# frozen_string_literal: true

require "support"
require "apnsd"

# What stands in clients/behaviour.toml is tested there; here is what is Ruby's own.
class ClientTest < Minitest::Test
  include WithWorld

  def test_a_notification_object_arrives_at_a_lazy_list_of_tokens
    tokens = %w[c1 c2].lazy.map { |start| token(start) }
    assert_nil client.notify(app, tokens, Apnsd::Notification.new(alert: "Hi", custom: { n: nil }))
    arrived = assert_arrived(token("c1"), token("c2"))
    assert_equal({ "aps" => { "alert" => "Hi" }, "n" => nil }, arrived[0]["payload"])
  end

  def test_json_text_arrives_as_it_is
    client.notify(app.to_sym, token("c3"), '{"aps": {"alert": "Grüße"}}')
    assert_equal({ "aps" => { "alert" => "Grüße" } }, assert_arrived(token("c3"))[0]["payload"])
  end

  def test_a_notification_may_expire_late_in_the_century
    assert_equal ["accepted"], outcomes(client.deliver(app, token("c4"), HELLO, expiration: Time.utc(2080)))
  end

  def test_deliver_tells_outcomes_as_hashes_with_times
    client(apps: { app => settings_with_topic })
    dead, good = client.deliver(app, [token("dead01"), token("c5")], HELLO, timeout: 5)
    assert_equal %w[rejected Unregistered], dead.values_at(:outcome, :reason)
    assert_predicate dead[:timestamp], :utc?
    assert_equal [token("c5"), "accepted", false], good.values_at(:token, :outcome, :retry)
  end

  def test_a_long_list_is_delivered_in_calls_of_a_thousand
    tokens = (0..1000).map { |number| format("c6%062x", number) }
    outcomes = client.deliver(app, tokens, HELLO)
    assert_equal tokens, (outcomes.map { |outcome| outcome[:token] })
    assert_equal ["accepted"], outcomes(outcomes).uniq
  end

  def test_feedback_yields_each_dead_token_and_can_be_read_again
    client(apps: { app => settings_with_topic }).deliver(app, [token("dead02"), token("dead03")], HELLO)
    yielded = []
    answer = client.feedback(app) { |time, token| yielded << [time, token] }
    assert_equal answer, yielded
    assert_equal [token("dead02"), token("dead03")], yielded.map(&:last).sort
    assert(yielded.all? { |time, _| time.utc? })
    again = client.feedback_after(app)
    assert_equal yielded.sort, again[:feedback].map { |entry| entry.values_at(:timestamp, :token) }.sort
    assert_equal({ feedback: [], cursor: again[:cursor] }, client.feedback_after(app, again[:cursor]))
  end

  def test_feedback_with_a_request_id_can_be_called_again
    client(apps: { app => settings_with_topic }).deliver(app, token("dead04"), HELLO)
    entries = client.feedback(app, request_id: 7)
    assert_equal([token("dead04")], entries.map(&:last))
    assert_equal entries, client.feedback(app, request_id: "7")
    assert_empty client.feedback(app)
    error = assert_raises(Apnsd::UnknownAppID) { client.feedback("other", request_id: 8) }
    assert_equal ["8", nil], [error.request_id, error.accepted]
    assert_match(/\A\h{8}-/, assert_raises(Apnsd::UnknownAppID) { client.feedback("other") }.request_id)
  end

  def test_rejections_are_yielded_up_to_the_cursor_to_go_on_with
    client.deliver(app, [token("bad801"), token("bad802")], HELLO)
    yielded = []
    cursor = client.rejections(app) { |rejection| yielded << rejection.values_at(:token, :reason) }
    assert_equal [[token("bad801"), "BadDeviceToken"], [token("bad802"), "BadDeviceToken"]], yielded
    assert_equal cursor, client.rejections(app, cursor) { flunk "there are no more" }
  end

  def test_a_cursor_that_nobody_has_yet_is_the_beginning
    client.deliver(app, token("bad803"), HELLO)
    [nil, "", "0", 0].each do |cursor|
      assert_equal([token("bad803")], client.rejections(app, cursor)[:rejections].map { |entry| entry[:token] })
      assert_equal [], client.feedback_after(app, cursor)[:feedback]
    end
  end

  def test_an_app_without_settings_is_told_with_those_that_have_some
    error = assert_raises(Apnsd::UnknownAppID) { client(apps: { "one" => settings }).notify("on", token("d0"), HELLO) }
    assert_equal "The app_id specified has not been provisioned. This client has no settings for `on`: give them as " \
                 "one of its apps, or provision it. It has settings for `one`.", error.message
    assert_equal [404, 0], [error.code, error.accepted]
    %w[two three four five].each { |id| client.provision(id, **settings) }
    error = assert_raises(Apnsd::UnknownAppID) { client.feedback("on") }
    assert_match(/ settings for `one`, `two`, `three`, `four`, `five`\.\z/, error.message)
    client.provision("six", **settings)
    error = assert_raises(Apnsd::UnknownAppID) { client.deliver("on", token("d0"), HELLO) }
    assert_match(/, or provision it\.\z/, error.message)
  end

  def test_an_error_tells_what_to_repeat_the_call_with
    error = assert_raises(Apnsd::InvalidArguments) { client.notify(app, ["no token"], HELLO, request_id: 7) }
    assert_equal [8002, "7", 0], [error.code, error.request_id, error.accepted]
    error = assert_raises(Apnsd::InvalidArguments) { client.notify(app, token("c7"), HELLO, priorty: 5) }
    assert_match(/\Aoptions\.priorty: unknown; there are expiration, priority/, error.message)
    assert_match(/\A\h{8}-\h{4}-/, error.request_id)
  end

  def test_what_the_callers_own_code_raises_comes_as_it_is
    other = Apnsd::UnknownAppID.new("of another call", code: 404)
    [RuntimeError.new("the database is gone"), StopIteration.new("mine"), other].each do |raised|
      tokens = Enumerator.new { |list| (list << token("d2")) && raise(raised) }
      [HELLO, [HELLO] * 3].each do |notifications|
        assert_same raised, assert_raises(raised.class) { client.notify(app, tokens, notifications) }
      end
    end
    assert_nil other.request_id
    client.deliver(app, token("bad804"), HELLO)
    assert_raises(StopIteration) { client.rejections(app) { raise StopIteration } }
    assert_arrived
  end

  def test_without_settings_there_is_nothing_to_provision_with
    error = assert_raises(Apnsd::NotConfigured) { client.provision("other") }
    assert_equal "app other: no settings; give certificate and environment", error.message
  end

  def test_settings_that_are_refused_replace_none_that_work
    client.provision(app)
    { { certificate: "/nowhere.pem", environment: "sandbox" } => Apnsd::InvalidArguments,
      { certificate_file: "/nowhere.pem", environment: "sandbox" } => Apnsd::InvalidArguments,
      settings(environment: "nowhere") => Apnsd::InvalidEnvironment }
      .each do |refused, error|
        assert_raises(error) { client.provision(app, **refused) }
        assert_raises(error) { client.configure(app => refused) }
      end
    Apnsd::Client.new(url: world[:url]).deprovision(app)
    client.notify(app, token("cf1"), HELLO)
    assert_arrived(token("cf1"))
  end

  def test_settings_that_are_refused_are_kept_where_there_were_none
    error = assert_raises(Apnsd::InvalidEnvironment) { client(apps: {}).provision(app, **settings(environment: "no")) }
    told = assert_raises(Apnsd::InvalidEnvironment) { capture_io { client.notify(app, token("cf2"), HELLO) } }
    assert_equal error.message, told.message
  end

  def test_settings_that_get_no_answer_replace_others
    client.provision(app)
    second = settings(certificate_file: world[:second_certificate])
    world.ask("stop")
    assert_raises(Apnsd::ConnectionFailed) { client.provision(app, **second) }
    world.ask("start")
    client.notify(app, token("cf3"), HELLO)
    assert_equal "Apple Production IOS Push Services: com.example.app", assert_arrived(token("cf3"))[0]["subject"]
  end

  def test_a_failed_first_use_is_logged_once
    log = StringIO.new
    client.notify(app, token("c8"), HELLO)
    expired = { app => settings(certificate_file: world[:expired_certificate]) }
    stale = Apnsd::Client.new(url: world[:url], apps: expired, logger: Logger.new(log))
    2.times { |number| stale.notify(app, token("c8#{number}a"), HELLO) }
    assert_arrived(token("c8"), token("c80a"), token("c81a"))
    assert_equal 1, log.string.scan("app #{app} was not provisioned, the call is made all the same: certificate").size
  end

  def test_without_a_logger_it_goes_to_the_standard_error_stream
    nowhere = Apnsd::Client.new(url: world[:url], apps: { app => settings(environment: "nowhere") })
    _, told = capture_io { assert_raises(Apnsd::InvalidEnvironment) { nowhere.feedback(app) } }
    assert_match(/\Aapnsd: app #{app} was not provisioned, .*nowhere.* \(Apnsd::InvalidEnvironment\)\n\z/, told)
  end

  def test_a_timeout_is_a_number_of_seconds
    error = assert_raises(Apnsd::InvalidArguments) { Apnsd::Client.new(timeout: "20") }
    assert_equal 'timeout: a number of seconds more than 0 is needed, not "20"', error.message
    [nil, 0, -1, Float::INFINITY, Float::NAN, Complex(1, 1)].each do |timeout|
      assert_raises(Apnsd::InvalidArguments) { client.deliver(app, token("ce"), HELLO, timeout:) }
      assert_raises(Apnsd::InvalidArguments) { Apnsd::Client.new(timeout:) }
    end
  end

  def test_threads_share_a_client_at_its_first_use
    tokens = (1..8).map { |number| token("c9#{number}") }
    start = Thread::Queue.new
    threads = tokens.map { |token| Thread.new { start.pop || client.notify(app, token, HELLO) } }
    client
    start.close
    threads.each(&:join)
    assert_arrived(*tokens)
  end

  def test_calls_one_after_another_share_a_connection_also_from_other_threads
    client(url: world[:proxy_url])
    before = world.ask("connections")
    client.notify(app, token("ca1"), HELLO)
    Thread.new { client.notify(app, token("ca2"), HELLO) }.join
    assert_arrived(token("ca1"), token("ca2"))
    assert_equal 1, world.ask("connections") - before
  end

  def test_a_forked_process_has_connections_of_its_own
    client(url: world[:proxy_url])
    before = world.ask("connections")
    client.notify(app, token("cb1"), HELLO)
    child = fork do
      client.notify(app, token("cb2"), HELLO)
      exit!(0)
    rescue Apnsd::Error
      exit!(1)
    end
    assert_predicate Process.wait2(child)[1], :success?
    client.notify(app, token("cb3"), HELLO)
    assert_arrived(token("cb1"), token("cb2"), token("cb3"))
    assert_equal 2, world.ask("connections") - before
  end

  def test_a_closed_client_opens_a_new_connection
    before = world.ask("connections")
    Apnsd::Client.open(url: world[:proxy_url], apps: { app => settings }) do |client|
      client.notify(app, token("cc1"), HELLO)
      client.close
      client.notify(app, token("cc2"), HELLO)
    end
    assert_arrived(token("cc1"), token("cc2"))
    assert_equal 2, world.ask("connections") - before
  end

  def test_an_app_is_provisioned_with_a_p12_file_on_this_machine
    Dir.mktmpdir do |directory|
      p12 = File.join(directory, "app.p12")
      File.binwrite(p12, pkcs12(File.read(world[:certificate]), "secret"))
      client.provision("p12", certificate_file: p12, environment: "sandbox", passphrase: "secret")
    end
    assert_equal ["accepted"], outcomes(client.deliver("p12", token("cd"), HELLO))
  end

  private

  def outcomes(rows)
    rows.map { |row| row[:outcome] }
  end

  def pkcs12(pem, passphrase)
    OpenSSL::PKCS12.create(passphrase, "app", OpenSSL::PKey.read(pem), OpenSSL::X509::Certificate.new(pem)).to_der
  end
end
