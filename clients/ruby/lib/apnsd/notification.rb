# frozen_string_literal: true

require "json"

module Apnsd
  # A notification, by the names of Apple's documentation:
  #
  #   Apnsd::Notification.new(alert: "Hello", badge: 1, custom: { order: 7 })
  #
  # A Hash with the same content will do wherever one of these does.
  class Notification
    # alert is a String, or a Hash (title, body, …); sound a String, or a Hash for critical alerts; badge an Integer,
    # 0 removes it; content_available and mutable_content are true or false; relevance_score is a number; the others
    # are Strings. custom is a Hash of what stands beside +aps+. What is nil is left out.
    def initialize(alert: nil, badge: nil, sound: nil, category: nil, thread_id: nil, content_available: nil,
                   mutable_content: nil, interruption_level: nil, relevance_score: nil, custom: {})
      raise InvalidArguments, "custom: `aps` is made of the other arguments" if custom.key?(:aps) || custom.key?("aps")

      @aps = {
        "alert" => alert, "badge" => badge, "sound" => sound, "category" => category, "thread-id" => thread_id,
        "content-available" => (1 if content_available), "mutable-content" => (1 if mutable_content),
        "interruption-level" => interruption_level, "relevance-score" => relevance_score
      }.compact.freeze
      @custom = custom.dup.freeze
      freeze
    end

    # The Hash that it is short for.
    def to_h
      { "aps" => @aps, **@custom }
    end

    def ==(other)
      other.is_a?(Notification) && to_h == other.to_h
    end
    alias eql? ==

    def hash
      to_h.hash
    end

    # The JSON text of a notification (Notification, Hash or JSON text). Raises InvalidArguments that names the place.
    def self.json(notification, place = "notifications") # :nodoc:
      return notification if notification.is_a?(String)

      unless notification.is_a?(Hash) || notification.is_a?(Notification)
        raise InvalidArguments, "#{place}: a Hash, an Apnsd::Notification or a String with a JSON object is needed, " \
                                "not #{notification.class}"
      end

      # These two are characters of JSON, but not of XML.
      JSON.generate(notification.to_h).gsub(/[\uFFFE\uFFFF]/) { |character| format("\\u%04x", character.ord) }
    rescue JSON::GeneratorError, JSON::NestingError, EncodingError => e
      raise InvalidArguments, "#{place}: this has no JSON form: #{e.message}"
    end
  end
end
