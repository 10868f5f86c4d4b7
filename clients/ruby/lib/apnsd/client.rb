# frozen_string_literal: true

require "securerandom"

module Apnsd
  # A client of the daemon. It provisions its apps by itself, when they are first used and when the daemon has forgotten
  # them, and never has a notification sent twice. One client serves all threads, fibers and forked processes.
  #
  #   client = Apnsd::Client.new(apps: { "myapp" => { certificate_file: "myapp.pem", environment: "production" } })
  #   client.notify("myapp", token, { aps: { alert: "Hello" } })
  #
  # Every method raises an Apnsd::Error. Times are Time in UTC.
  class Client
    # Seconds for which +apnsd.send+ waits where its caller does not say.
    SEND_WAIT = 10
    # Ids of apps that an error lists: more help nobody.
    SHOWN_MAX = 5
    private_constant :SEND_WAIT, :SHOWN_MAX

    # Yields a new client and closes it behind the block.
    def self.open(**settings)
      client = new(**settings)
      yield client
    ensure
      client&.close
    end

    # url:: where the daemon is: +http://host:7077/+, +https://user:password@host/+, +unix:/run/apnsd/apnsd.sock+.
    #       Without one the environment variable APNSD_URL says it, else it is +http://127.0.0.1:7077/+.
    # timeout:: how long a call may take, in seconds, on top of what the daemon is asked to wait.
    # apps:: a Hash of settings for each app id, as #provision takes them.
    # logger:: warned when an app could not be provisioned at its first use. Without one the standard error stream is.
    def initialize(url: nil, timeout: 20, apps: {}, logger: nil)
      @transport = Transport.new(Endpoint.new(url), Options.duration(timeout))
      @logger = logger || Log
      @apps = App.all(apps).to_h { |app| [app.id, app] }
      @lock = Mutex.new
    end

    # Adds apps to those of this client, or replaces their settings, and provisions each; without any, all it has. An
    # app that fails does not stop the others; the first failure is raised. Settings that are refused are kept only
    # where there were none before, as with #provision. Raises NotConfigured where there is no app.
    def configure(apps = nil)
      apps = apps ? App.all(apps) : @lock.synchronize { @apps.values }
      raise NotConfigured, "there are no apps: give some here, or to the client" if apps.empty?

      failures = apps.filter_map { |app| failure_to_adopt(app) }
      raise failures.first unless failures.empty?
    end

    # Provisions an app: with these settings, which the client keeps for later, or with those it has. The daemon ignores
    # what it has already. Settings that are refused (InvalidArguments, InvalidEnvironment) do not replace those that
    # the client had before. Raises NotConfigured where there are no settings.
    #
    # certificate:: what the daemon gets as it is: PEM text, text of a .p8 key, base64, or a path on its machine
    # certificate_file:: instead: a file on this machine, read each time (PEM, .p8, .p12)
    # environment:: +production+, +sandbox+, or another that the daemon's configuration names
    # timeout:: seconds for connection attempts of the daemon, 15
    # topic, key_id, team_id, passphrase, connections, force:: options of the daemon's +provision+
    # expiration, priority, collapse_id, push_type:: defaults for the app's notifications
    def provision(app_id, **settings)
      app = settings.empty? ? settings_of(app_id) : App.new(app_id, settings)
      raise NotConfigured, "app #{app_id}: no settings; give certificate and environment" unless app

      adopt(app)
    end

    # Has notifications delivered; they are on the daemon's disk when this returns.
    #
    # tokens:: a String (hex or base64), or any Enumerable of them, of any length and also lazy
    # notifications:: a Hash, a Notification or JSON text for all tokens, or an Array with one for each
    # expiration:: Time, or Integer (Unix seconds; 0: now or never)
    # priority:: 10, 5 or 1
    # collapse_id, push_type, topic:: Strings. All of these can be an Array with one for each token
    # request_id:: names the call, so that it has an effect only once; made up where it is not given
    #
    # More than 10,000 tokens, or 16 MiB, go to the daemon in several calls. Where one of them fails, Error#accepted
    # says how many tokens were accepted before. What the Enumerable itself raises comes as it is, without a request id:
    # one of your own makes that call repeatable too.
    def notify(app_id, tokens, notifications, **options)
      in_calls(app_id, tokens, notifications, options, Batch::NOTIFY_MAX) { |*arguments| call("notify", *arguments) }
      nil
    end

    # The daemon's +apnsd.send+: #notify, sent before all that waits, that comes back with what became of each
    # notification, in the order of the tokens. (It is not called +send+, which every object of Ruby has already.)
    #
    # timeout:: how many seconds the daemon waits for outcomes, 10, at most 60
    #
    # Each outcome is a Hash with +:token+, +:outcome+, +:retry+, and where there is one +:id+, +:status+, +:reason+,
    # +:timestamp+ and +:cause+. More than 1,000 tokens go in several calls. These are the outcomes:
    #
    # accepted:: the provider accepted it
    # presumed:: it was sent to the binary gateway, which is silent about what it accepts
    # rejected:: the provider refused it, for the +:reason+
    # expired:: its expiration passed
    # queued:: none yet, it stays queued as with #notify; +:retry+: it was tried, +:cause+: what stands in the way now
    # repeated:: a call with this request_id was accepted before, nothing was sent for this one
    def deliver(app_id, tokens, notifications, timeout: SEND_WAIT, **options)
      timeout = Options.duration(timeout)
      outcomes = []
      in_calls(app_id, tokens, notifications, options, Batch::SEND_MAX) do |*arguments, call_options|
        call_options = call_options.merge(timeout:)
        outcomes.concat(call("apnsd.send", *arguments, call_options, wait: timeout))
      end
      outcomes
    end

    # Dead device tokens: an Array of [Time, token in lowercase hex]. Yields each where a block is given. Each is handed
    # out once as long as the daemon lives; what was handed out within a second or two before a crash may come again.
    # What is lost by an error in the block can be read again with #feedback_after, or with the same request_id.
    #
    # request_id:: names the call: made again with the same, it returns the same entries, and what has come since. Made
    #              up where it is not given
    def feedback(app_id, request_id: nil, &block)
      options = { request_id: (request_id || SecureRandom.uuid).to_s }
      begin
        entries = recovering(app_id) { call("feedback", app_id.to_s, options) }
      rescue Error => e
        raise e.of_call(**options)
      end
      entries.each(&block) if block
      entries
    end

    # Dead device tokens after a cursor (nil: from the beginning), handed out or not: a Hash with +:feedback+, an Array
    # of Hashes with +:token+ and +:timestamp+, and +:cursor+, to go on with. With a block: yields all there are and
    # returns the cursor.
    def feedback_after(app_id, cursor = nil, &block)
      list("apnsd.feedback", :feedback, app_id, cursor, &block)
    end

    # Notifications that will not be delivered, after a cursor (nil: from the beginning): a Hash with +:rejections+, an
    # Array of Hashes with +:token+, +:reason+, +:text+, +:timestamp+ and more, and +:cursor+, to go on with. With a
    # block: yields all there are and returns the cursor.
    def rejections(app_id, cursor = nil, &block)
      list("apnsd.rejections", :rejections, app_id, cursor, &block)
    end

    # The status of every app of the daemon; see #status.
    def apps
      call("apnsd.apps")
    end

    # How an app is, as a Hash: +:state+, +:cause+ (why it cannot send), +:waiting+, +:delivered+, +:expires+ and more.
    def status(app_id)
      call("apnsd.status", app_id.to_s)
    end

    # Removes an app from the daemon, and its settings from this client, so that nothing brings it back.
    def deprovision(app_id)
      @lock.synchronize { @apps.delete(app_id.to_s) }
      call("apnsd.deprovision", app_id.to_s)
      nil
    end

    # Closes connections that nobody uses. The client can be used on: it opens others.
    def close
      @transport.close
    end

    # Without what is secret.
    def inspect
      "#<#{self.class} #{@transport} apps: #{@apps.keys.join(", ")}>"
    end

    private

    def settings_of(app_id)
      @lock.synchronize { @apps[app_id.to_s] }
    end

    # Provisions an app with settings that may be new, and keeps them, but what is refused replaces nothing.
    def adopt(app)
      @lock.synchronize { @apps[app.id] ||= app }
      refused = false
      bring(app)
    rescue InvalidArguments, InvalidEnvironment
      refused = true
      raise
    ensure
      @lock.synchronize { @apps[app.id] = app } unless refused
    end

    def bring(app)
      call("provision", *app.provision_arguments, wait: app.timeout)
      app.brought
      nil
    end

    def failure_to_adopt(app)
      adopt(app)
    rescue Error => e
      e
    end

    # The caller's own code runs here too, where tokens are read: what it raises is none of this call's errors.
    def in_calls(app_id, tokens, notifications, options, max)
      batch = Batch.new(tokens, notifications, request_id: SecureRandom.uuid, **options.compact)
      batch.each_call(max) do |*arguments|
        batch.of_call { recovering(app_id) { yield app_id.to_s, *arguments } }
      end
    end

    # Calls with an app of which the client may have settings: provisions it before its first use, and once more where
    # the daemon does not know it.
    def recovering(app_id)
      app = settings_of(app_id)
      use_first(app) if app
      begin
        yield
      rescue UnknownAppID => e
        app = settings_of(app_id)
        raise without_settings(app_id, e), cause: nil unless app

        bring(app)
        yield
      end
    end

    def without_settings(app_id, error)
      ids = @lock.synchronize { @apps.keys }
      known = " It has settings for #{ids.map { |id| "`#{id}`" }.join(", ")}." if ids.size.between?(1, SHOWN_MAX)
      text = "This client has no settings for `#{app_id}`: give them as one of its apps, or provision it.#{known}"
      UnknownAppID.new("#{error.text} #{text}", code: error.code)
    end

    # The daemon may know the app with other settings: whatever is wrong with these, the call is made. Without a
    # connection the call would fare no better, and its caller would wait twice.
    def use_first(app)
      app.first_use { bring(app) }
    rescue ConnectionFailed
      raise
    rescue Error => e
      @logger.warn("app #{app.id} was not provisioned, the call is made all the same: #{e.message} (#{e.class})")
    end

    def list(method, name, app_id, cursor, &block)
      cursor = "0" if cursor.to_s.empty?
      page = call(method, app_id.to_s, cursor.to_s)
      return page unless block

      until page[name].empty?
        page[name].each(&block)
        page = call(method, app_id.to_s, page[:cursor])
      end
      page[:cursor]
    end

    def call(method, *params, wait: 0)
      reply = @transport.post(Codec.call(method, params), wait:)
      value = Codec.answer(reply.body)
      Shape.fits?(method, params, value) ? value : @transport.misunderstood("is no answer to #{method}")
    rescue UnknownAppID
      # The first time it removed the app, then the connection broke.
      raise unless method == "apnsd.deprovision" && reply.repeated
    rescue Codec::Malformed => e
      @transport.misunderstood("is not XML-RPC: #{e.message[/.*/]}")
    end
  end
end
